import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { entries, REDACTIONS, wrongWithSchema, type Redaction, type Rules, type SchemaRule } from "../../rules";

interface FormProps {
  readonly rules: Rules;
  /** What is wrong, by key. */
  readonly errors: Readonly<Record<string, string>>;
  readonly change: (rules: Rules) => void;
}

/** All rules, each with what it does. */
export function RulesForm({ rules, errors, change }: FormProps) {
  const put = (part: Partial<Rules>) => change({ ...rules, ...part });
  const { bots, limits, urls, redact } = rules;
  const redaction = (key: keyof Rules["redact"], name: string) => (
    <Field label={name} error={errors[`redact.${key}`]} name={`redact.${key}`}>
      {(props) => (
        <select {...props} value={redact[key]} onChange={(event) => put({ redact: { ...redact, [key]: event.currentTarget.value as Redaction } })}>
          {REDACTIONS.map((each) => <option key={each} value={each}>{ACTIONS[each]}</option>)}
        </select>
      )}
    </Field>
  );
  const limit = (key: keyof Rules["limits"], name: string) => (
    <NumberField label={name} name={`limits.${key}`} value={limits[key]} error={errors[`limits.${key}`]}
      set={(value) => put({ limits: { ...limits, [key]: value } })} />
  );
  return (
    <div class="columns">
      <Group title="Who is refused">
        <Check label="Crawlers, monitors, link previews" on={bots.crawlers} set={(crawlers) => put({ bots: { ...bots, crawlers } })} />
        <Check label="Browsers that a program steers" on={bots.automation} set={(automation) => put({ bots: { ...bots, automation } })} />
        <Check label="Libraries and tools for HTTP" on={bots.libraries} set={(libraries) => put({ bots: { ...bots, libraries } })} />
        <Check label="Networks of datacentres" on={bots.datacentres} set={(datacentres) => put({ bots: { ...bots, datacentres } })} />
        <Check label="Made-up visits (referrer spam)" on={rules.spam} set={(spam) => put({ spam })} />
        <NumberField label="Visitors that are kept, of 100" name="sample_percent" value={rules.sample_percent} error={errors["sample_percent"]}
          set={(sample_percent) => put({ sample_percent })} />
      </Group>
      <Group title="Which pages are taken">
        <ListField label="Hosts besides the site’s own" hint="One in each line; *.shop.example: all below it. Empty: any." name="hosts" value={rules.hosts}
          error={errors["hosts"]} set={(hosts) => put({ hosts })} />
        <ListField label="Origins of pages" hint="One in each line, with https://; null: pages without one. Empty: those of the hosts." name="origins" value={rules.origins}
          error={errors["origins"]} set={(origins) => put({ origins })} />
        <ListField label="Paths of which nothing is taken" hint="One in each line; * stands for any characters." name="blocked_paths" value={rules.blocked_paths}
          error={errors["blocked_paths"]} set={(blocked_paths) => put({ blocked_paths })} />
        <ListField label="What pages record by themselves" hint="One in each line: clicks, rage, outbound, downloads, forms, scroll, engagement, notFound, vitals, errors, search, swipes; or all." name="capture"
          value={rules.capture} error={errors["capture"]} set={(capture) => put({ capture })} />
      </Group>
      <Group title="How much is taken" hint="Events at each collector; 0: without limit">
        {limit("ip_per_minute", "A minute from one address")}
        {limit("key_per_minute", "A minute with one key")}
        {limit("site_per_minute", "A minute in all")}
        {limit("per_day", "A day in all")}
      </Group>
      <Group title="What is kept of personal data and URLs">
        {redaction("email", "E-mail addresses")}
        {redaction("card", "Card numbers")}
        {redaction("phone", "Phone numbers")}
        <ListField label="Query parameters that are kept" hint="Besides utm_*, ref and source" name="urls.keep_parameters" value={urls.keep_parameters}
          error={errors["urls.keep_parameters"]} set={(keep_parameters) => put({ urls: { ...urls, keep_parameters } })} />
        <Check label="Take /a/ as /a" on={urls.trim_trailing_slash} set={(trim_trailing_slash) => put({ urls: { ...urls, trim_trailing_slash } })} />
        <Check label="Take /A as /a" on={urls.lower_case_paths} set={(lower_case_paths) => put({ urls: { ...urls, lower_case_paths } })} />
      </Group>
      <Group title="What properties must be">
        {rules.schemas.map((schema, at) => (
          <SchemaFields key={at} at={at} schema={schema} errors={errors}
            set={(next) => put({ schemas: rules.schemas.map((each, index) => (index === at ? next : each)) })}
            remove={() => put({ schemas: rules.schemas.filter((_, index) => index !== at) })} />
        ))}
        <button type="button" class="button" onClick={() => put({ schemas: [...rules.schemas, { event: "", mode: "warn", schema: {} }] })}>Add a schema</button>
      </Group>
    </div>
  );
}

const ACTIONS: Readonly<Record<Redaction, string>> = { off: "Keep them", mask: "Put [email] or the like in their place", hash: "Put a hash in their place", drop: "Leave them out" };

function Group({ title, hint, children }: { readonly title: string; readonly hint?: string; readonly children: ComponentChildren }) {
  return (
    <fieldset class="panel rules-group">
      <legend><span>{title}</span>{hint && <span class="muted hint"> {hint}</span>}</legend>
      {children}
    </fieldset>
  );
}

interface ControlProps {
  readonly id: string;
  readonly "aria-invalid": boolean;
  readonly "aria-describedby": string | undefined;
}

interface FieldProps {
  readonly label: string;
  /** Its key in the rules. */
  readonly name: string;
  readonly hint?: string | undefined;
  readonly error: string | undefined;
  readonly children: (props: ControlProps) => ComponentChildren;
}

function Field({ label, name, hint, error, children }: FieldProps) {
  const id = `rule-${name.replaceAll(/[^a-z0-9_]/g, "-")}`;
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {hint && <p class="muted" id={`${id}-hint`}>{hint}</p>}
      {children({ id, "aria-invalid": Boolean(error), "aria-describedby": about || undefined })}
      {error && <p class="field-error" id={`${id}-error`}>{error}</p>}
    </div>
  );
}

function Check({ label, on, set }: { readonly label: string; readonly on: boolean; readonly set: (on: boolean) => void }) {
  return <label class="check"><input type="checkbox" checked={on} onChange={(event) => set(event.currentTarget.checked)} /> {label}</label>;
}

interface ValueProps<T> {
  readonly label: string;
  readonly name: string;
  readonly hint?: string;
  readonly value: T;
  readonly error: string | undefined;
  readonly set: (value: T) => void;
}

function NumberField({ value, set, ...field }: ValueProps<number>) {
  return (
    <Field {...field}>
      {(props) => <input {...props} type="number" min={0} value={value} onInput={(event) => set(Math.max(0, Math.trunc(event.currentTarget.valueAsNumber || 0)))} />}
    </Field>
  );
}

function ListField({ value, set, ...field }: ValueProps<readonly string[]>) {
  const [text, setText] = useState(value.join("\n"));
  // What was restored or undone replaces what is written here; what is only spelled otherwise does not.
  const shown = entries(text).join("\n") === value.join("\n") ? text : value.join("\n");
  return (
    <Field {...field}>
      {(props) => (
        <textarea {...props} rows={3} value={shown} onInput={(event) => {
          setText(event.currentTarget.value);
          set(entries(event.currentTarget.value));
        }} />
      )}
    </Field>
  );
}

interface SchemaProps {
  readonly at: number;
  readonly schema: SchemaRule;
  readonly errors: Readonly<Record<string, string>>;
  readonly set: (schema: SchemaRule) => void;
  readonly remove: () => void;
}

function SchemaFields({ at, schema, errors, set, remove }: SchemaProps) {
  const [text, setText] = useState(JSON.stringify(schema.schema, null, 2));
  const [unreadable, setUnreadable] = useState("");
  const key = `schemas[${at}]`;
  return (
    <div class="schema">
      <Field label="Event" hint="A custom event’s name, or a type such as order" name={`${key}.event`} error={errors[`${key}.event`]}>
        {(props) => <input {...props} value={schema.event} onInput={(event) => set({ ...schema, event: event.currentTarget.value })} />}
      </Field>
      <Check label="Refuse what does not fit (else it is only counted)" on={schema.mode === "reject"} set={(reject) => set({ ...schema, mode: reject ? "reject" : "warn" })} />
      <Field label="JSON Schema of the properties" name={`${key}.schema`} error={unreadable || wrongWithSchema(errors, at) || undefined}>
        {(props) => (
          <textarea {...props} rows={6} spellcheck={false} value={text} onInput={(event) => {
            setText(event.currentTarget.value);
            try {
              set({ ...schema, schema: JSON.parse(event.currentTarget.value) as unknown });
              setUnreadable("");
            } catch {
              setUnreadable("This is not JSON yet: the last text that was is kept.");
            }
          }} />
        )}
      </Field>
      <button type="button" class="button quiet" onClick={remove}>Remove this schema</button>
    </div>
  );
}
