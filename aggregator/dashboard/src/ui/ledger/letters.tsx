import { useCallback, useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { fullNumber } from "../../format";
import { explain, type Letter } from "../../ledger";

interface LettersProps {
  readonly site: number;
  /** Only of this reason; empty: of any. */
  readonly reason: string;
  readonly choose: (reason: string) => void;
}

/** Refused events with what they held, and a way to send them again. */
export function DeadLetters({ site, reason, choose }: LettersProps) {
  const [letters, setLetters] = useState<readonly Letter[]>();
  const [next, setNext] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");

  const load = useCallback(async (after?: string) => {
    try {
      const page = await api.deadLetters(site, reason, after);
      setLetters((before) => [...(after ? (before ?? []) : []), ...page.letters]);
      setNext(page.next);
    } catch (error) {
      setSaid(messageOf(error));
    }
  }, [site, reason]);
  useEffect(() => {
    setLetters(undefined);
    setSaid("");
    void load();
  }, [load]);

  const replay = async (ids?: readonly string[]) => {
    setBusy(true);
    setSaid("");
    try {
      const { accepted, rejected, not_replayable, more } = await api.replay(site, ids ? { ids } : reason ? { reason } : {});
      const parts = [`${fullNumber(accepted)} accepted`, rejected > 0 && `${fullNumber(rejected)} refused again`,
        not_replayable > 0 && `${fullNumber(not_replayable)} can’t be sent`, more && "there are more: replay again"];
      setSaid(`${parts.filter(Boolean).join(", ")}.`);
      await load();
    } catch (error) {
      setSaid(messageOf(error));
    }
    setBusy(false);
  };

  return (
    <section class="panel" aria-labelledby="letters-title">
      <header class="panel-head">
        <h2 id="letters-title">Dead letters</h2>
        {reason && (
          <button type="button" class="button quiet" onClick={() => choose("")}>{explain(reason).name} only · show all</button>
        )}
        <span class="spacer" />
        <button type="button" class="button" disabled={busy || !letters?.length} onClick={() => void replay()}>
          {busy ? "Replaying…" : reason ? "Replay these" : "Replay all"}
        </button>
      </header>
      <p class="letters-said" role="status">{said}</p>
      {!letters ? <div class="panel-fill skeleton" />
        : letters.length === 0 ? <p class="nothing">No refused event is kept{reason && " for this reason"}. Events without consent are never kept.</p>
        : <ol class="letters">{letters.map((letter) => <Row key={letter.id} letter={letter} busy={busy} replay={replay} />)}</ol>}
      {next && (
        <footer class="panel-foot">
          <button type="button" class="button quiet" onClick={() => void load(next)}>Show older ones</button>
        </footer>
      )}
    </section>
  );
}

const OUTCOMES: Readonly<Record<string, string>> = { accepted: "Replayed", rejected: "Refused again", not_replayable: "Can’t be sent" };

interface RowProps {
  readonly letter: Letter;
  readonly busy: boolean;
  readonly replay: (ids: readonly string[]) => Promise<void>;
}

function Row({ letter, busy, replay }: RowProps) {
  const { id, received_at, reason, detail, payload, replayed_at, outcome } = letter;
  return (
    <li>
      <details>
        <summary>
          <time dateTime={received_at}>{received_at.slice(0, 19).replace("T", " ")}</time>
          <span class="fate fate-rejected">{explain(reason).name}</span>
          <span class="letter-detail">{detail}</span>
          {outcome && <span class="chip" title={replayed_at ?? ""}>{OUTCOMES[outcome] ?? outcome}</span>}
        </summary>
        <pre tabIndex={0} aria-label="The event as it came">{JSON.stringify(payload, null, 2)}</pre>
        <button type="button" class="button" disabled={busy} onClick={() => void replay([id])}>Replay this one</button>
      </details>
    </li>
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
