import { useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { differences, type Rules, type SavedRules } from "../../rules";

interface HistoryProps {
  readonly site: number;
  /** The newest version. */
  readonly version: number;
  readonly restore: (rules: Rules) => Promise<void>;
  readonly busy: boolean;
}

/** Every version: who made it, when, what it changed, and a way back to it. */
export function History({ site, version, restore, busy }: HistoryProps) {
  const [versions, setVersions] = useState<readonly SavedRules[]>([]);
  const [error, setError] = useState("");
  useEffect(() => {
    api.rulesHistory(site).then(setVersions, (failure: unknown) => setError(failure instanceof Error ? failure.message : String(failure)));
  }, [site, version]);
  return (
    <section class="panel" aria-labelledby="history-title">
      <header class="panel-head"><h2 id="history-title">Versions</h2></header>
      {error && <p class="banner" role="alert">{error}</p>}
      {versions.length === 0 ? <p class="nothing">The rules were never changed: the defaults are in force.</p> : (
        <ol class="versions">
          {versions.map((each, at) => (
            <li key={each.version}>
              <details>
                <summary>
                  <strong>Version {each.version}</strong>
                  <time dateTime={new Date(each.created_at).toISOString()}>{new Date(each.created_at).toLocaleString("en-GB")}</time>
                  <span class="muted">{each.changed_by && `by ${each.changed_by}`}</span>
                </summary>
                <Changed before={versions[at + 1]?.rules} after={each.rules} />
                {at > 0 && <button type="button" class="button" disabled={busy} onClick={() => void restore(each.rules)}>Restore version {each.version}</button>}
              </details>
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Changed({ before, after }: { readonly before: Rules | undefined; readonly after: Rules }) {
  if (!before) return <p class="muted">The first version: what it has besides the defaults is in the form.</p>;
  const changed = differences(before, after);
  if (changed.length === 0) return <p class="muted">Nothing was changed.</p>;
  return (
    <dl class="diff">
      {changed.map(({ key, before: old, after: now }) => (
        <div key={key}><dt><code>{key}</code></dt><dd><del>{old || "nothing"}</del> → <ins>{now || "nothing"}</ins></dd></div>
      ))}
    </dl>
  );
}
