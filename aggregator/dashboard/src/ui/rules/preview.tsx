import { fullNumber } from "../../format";
import { explain } from "../../ledger";
import { counted, type Changes, type Preview } from "../../rules";

/** What the rules as they are edited would have done. */
export function PreviewPanel({ preview }: { readonly preview: Preview }) {
  const { would_refuse, would_accept, complete, to, accepted, refused, not_told } = preview;
  return (
    <section class="panel preview" aria-labelledby="preview-title">
      <header class="panel-head"><h2 id="preview-title">What these rules would have done in the last 24 hours</h2></header>
      <div class="preview-body" role="status">
        <p>
          Of {fullNumber(accepted)} accepted events they would have refused <strong>{counted(preview, would_refuse, fullNumber)}</strong>;
          of {fullNumber(refused)} refused ones that are kept they would have let pass <strong>{counted(preview, would_accept, fullNumber)}</strong>.
        </p>
        {!complete && <p>There was more than can be looked at in 10 seconds: what came after {to.slice(0, 16).replace("T", " ")} UTC is not in it.</p>}
      </div>
      <Some title="Would be refused" changes={would_refuse} />
      <Some title="Would pass" changes={would_accept} />
      {not_told.length > 0 && (
        <>
          <h3 class="preview-body">What a preview can’t tell</h3>
          <ul class="preview-samples">{not_told.map((sentence) => <li key={sentence}>{sentence}</li>)}</ul>
        </>
      )}
    </section>
  );
}

function Some({ title, changes }: { readonly title: string; readonly changes: Changes }) {
  if (changes.events === 0) return null;
  const reasons = Object.entries(changes.reasons).map(([reason, count]) => `${explain(reason).name}: ${fullNumber(count)}`);
  return (
    <>
      <h3 class="preview-body">{title} – {reasons.join(", ")}. Some of them:</h3>
      <ul class="preview-samples">
        {changes.samples.map(({ received_at, reason, detail, type, name, page }, at) => (
          <li key={at}>
            <time dateTime={received_at}>{received_at.slice(0, 19).replace("T", " ")}</time>{" "}
            <span class="fate fate-rejected">{explain(reason).name}</span> {name || type} {page && <code>{page}</code>} <span class="muted">{detail}</span>
          </li>
        ))}
      </ul>
    </>
  );
}
