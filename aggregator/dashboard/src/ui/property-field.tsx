/** Which property of events is broken down by. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { chooseProperty } from "../navigate";
import { isPublic, site, view } from "../state";

/** What the SDK's own events and orders bring. */
const COMMON = ["url", "host", "extension", "query", "sku"];

/** The properties that the schemas of a site's rules name. */
const propertiesOf = (schemas: readonly { readonly schema: unknown }[]): string[] =>
  schemas.flatMap(({ schema }) => Object.keys((schema as { readonly properties?: object } | null)?.properties ?? {}));

export function PropertyField() {
  const current = site.value;
  const { property } = view.value;
  const [known, setKnown] = useState<readonly string[]>(COMMON);
  useEffect(() => {
    if (!current || isPublic) return;
    api.rules(current.id).then(
      ({ rules }) => setKnown([...new Set([...propertiesOf(rules.schemas), ...COMMON])]),
      () => undefined, // what is common will do
    );
  }, [current?.id]);
  return (
    <form class="property-field" onSubmit={(event) => {
      event.preventDefault();
      chooseProperty((event.currentTarget.elements.namedItem("property") as HTMLInputElement).value.trim());
    }}>
      <input name="property" list="properties" aria-label="Property of events" placeholder="Name of a property, such as plan" maxLength={300}
        key={property} defaultValue={property} />
      <datalist id="properties">{known.map((name) => <option key={name} value={name} />)}</datalist>
      <button type="submit" class="button">Show</button>
    </form>
  );
}
