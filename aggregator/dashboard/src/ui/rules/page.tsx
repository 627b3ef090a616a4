import { useCallback, useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { ApiError } from "../../api";
import { obedience, onlyBreaks, type Preview, type Rules, type RulesInForce } from "../../rules";
import { site } from "../../state";
import { RulesForm } from "./form";
import { History } from "./history";
import { PreviewPanel } from "./preview";

/** How often it is asked which collectors obey. */
const EVERY_MS = 2_000;

/** What collectors refuse, change and limit of the site's events. Loaded when somebody looks at it. */
export default function RulesPage() {
  const current = site.value;
  return current ? <OfSite key={current.id} site={current.id} /> : null;
}

function OfSite({ site: id }: { readonly site: number }) {
  const [saved, setSaved] = useState<RulesInForce>();
  /** As they are edited. */
  const [rules, setRules] = useState<Rules>();
  const [errors, setErrors] = useState<Readonly<Record<string, string>>>({});
  const [preview, setPreview] = useState<Preview>();
  const [busy, setBusy] = useState("");
  const [said, setSaid] = useState("");

  const take = useCallback((next: RulesInForce) => {
    setSaved(next);
    setRules(next.rules);
    setPreview(undefined);
    setErrors({});
  }, []);
  const fail = (error: unknown) => {
    const fields = error instanceof ApiError ? error.fields : {};
    setErrors(fields);
    const some = Object.keys(fields).length > 0;
    const breaks = "Not saved: events that fitted would not fit any more. Look at the schemas that are marked below, or save all the same.";
    setSaid(onlyBreaks(fields) ? breaks : some ? "Not saved: look at what is marked below." : error instanceof Error ? error.message : String(error));
  };

  useEffect(() => {
    api.rules(id).then(take, fail);
    // Only who obeys is taken over: what is edited here stays.
    const timer = setInterval(() => {
      if (document.visibilityState !== "visible") return;
      void api.rules(id).then((now) => setSaved((before) => (before && { ...before, collectors: before.version === now.version ? now.collectors : { ...now.collectors, in_force: 0 } })), () => undefined);
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, [id]);

  const act = async (name: string, work: () => Promise<void>) => {
    setBusy(name);
    setSaid("");
    try {
      await work();
    } catch (error) {
      fail(error);
    }
    setBusy("");
  };
  const look = () => act("preview", async () => {
    if (!rules) return;
    setPreview(undefined);
    setPreview(await api.previewRules(id, rules));
    setErrors({});
  });
  const save = (next: Rules, force = false) => act("save", async () => {
    const now = await api.saveRules(id, next, saved?.version ?? 0, force);
    take(now);
    setSaid(`Saved as version ${now.version}.`);
  });

  if (!saved || !rules) {
    return <>
      <div class="toolbar"><h1>Rules</h1></div>
      {said ? <div class="banner" role="alert"><p>{said}</p></div> : <div class="panel panel-fill skeleton" role="status" aria-label="Loading" />}
    </>;
  }
  const edited = JSON.stringify(rules) !== JSON.stringify(saved.rules);
  const change = (next: Rules) => {
    if (onlyBreaks(errors)) setErrors({});
    setRules(next);
    setPreview(undefined);
  };
  return (
    <>
      <div class="toolbar">
        <h1>Rules</h1>
        <span class="chip in-force" role="status">{obedience(saved)}</span>
        <span class="spacer" />
        <button type="button" class="button" disabled={busy !== ""} onClick={() => void look()}>{busy === "preview" ? "Looking…" : "Preview"}</button>
        <button type="button" class="button" disabled={!edited || busy !== ""} onClick={() => take(saved)}>Undo</button>
        {onlyBreaks(errors) && <button type="button" class="button" disabled={busy !== ""} onClick={() => void save(rules, true)}>Save all the same</button>}
        <button type="button" class="button primary" disabled={!edited || busy !== ""} onClick={() => void save(rules)}>{busy === "save" ? "Saving…" : "Save"}</button>
      </div>
      <p class="rules-said" role="status">{said}</p>
      {preview && <PreviewPanel preview={preview} />}
      <RulesForm rules={rules} errors={errors} change={change} />
      <History site={id} version={saved.version} restore={(earlier) => save(earlier, true)} busy={busy !== ""} />
    </>
  );
}
