import { useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { ApiError } from "../../api";
import { fullNumber } from "../../format";
import { amount, explain, FATE_NAMES, FATES, LOST_BY_CLIENT, pending, reasons, UNKNOWN, type Ledger, type Step } from "../../ledger";
import { site } from "../../state";
import { FateChart } from "./chart";
import { DeadLetters } from "./letters";

/** How often the figures are asked for while the page is seen. */
const EVERY_MS = 5_000;

/** What became of everything that was received. Loaded when somebody looks at it. */
export default function LedgerPage() {
  const current = site.value;
  const [step, setStep] = useState<Step>("hour");
  const [unknown, setUnknown] = useState(false);
  const [ledger, setLedger] = useState<Ledger>();
  const [error, setError] = useState("");
  const [reason, setReason] = useState("");
  const of = unknown ? UNKNOWN : String(current?.id ?? "");

  useEffect(() => {
    if (!of) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const load = async () => {
      try {
        if (document.visibilityState === "visible") {
          setLedger(await api.ledger(of, step, stop.signal));
          setError("");
        }
      } catch (failure) {
        if (stop.signal.aborted) return;
        setError(failure instanceof ApiError ? failure.message : String(failure));
      }
      if (!stop.signal.aborted) timer = setTimeout(load, EVERY_MS);
    };
    setLedger(undefined);
    void load();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [of, step]);
  useEffect(() => setReason(""), [of]);

  return (
    <>
      <div class="toolbar">
        <h1>Ledger</h1>
        <div class="segments" role="group" aria-label="Whose events">
          <button type="button" aria-pressed={!unknown} onClick={() => setUnknown(false)}>This site</button>
          <button type="button" aria-pressed={unknown} onClick={() => setUnknown(true)}>Unknown keys</button>
        </div>
        <span class="spacer" />
        <div class="segments" role="group" aria-label="Time">
          <button type="button" aria-pressed={step === "hour"} onClick={() => setStep("hour")}>24 hours</button>
          <button type="button" aria-pressed={step === "day"} onClick={() => setStep("day")}>30 days</button>
        </div>
      </div>
      {error && (
        <div class="banner" role="alert"><p><strong>The ledger is not up to date.</strong> {error}</p></div>
      )}
      <section class="panel" aria-labelledby="fates-title" aria-busy={!ledger}>
        <header class="panel-head">
          <h2 id="fates-title">{unknown ? "Requests with unknown keys" : "What became of everything that was received"}</h2>
          <span class="muted hint">Times are of UTC</span>
        </header>
        {ledger ? <Fates ledger={ledger} /> : <div class="panel-fill skeleton" />}
      </section>
      {ledger && (
        <div class="columns">
          <Reasons ledger={ledger} chosen={reason} choose={setReason} />
          <OnTheWay ledger={ledger} />
        </div>
      )}
      {current && !unknown && <DeadLetters key={current.id} site={current.id} reason={reason} choose={setReason} />}
    </>
  );
}

function Fates({ ledger }: { ledger: Ledger }) {
  const { total } = ledger;
  return (
    <>
      {total.unsettled !== 0 && (
        <p class="banner" role="alert">{fullNumber(total.unsettled)} accepted events have no fate: look at the aggregator’s log.</p>
      )}
      <dl class="fates">
        <div class="fate-total">
          <dt>Received</dt>
          <dd>{fullNumber(total.received)}</dd>
        </div>
        {FATES.map((fate) => {
          const [name, meaning] = FATE_NAMES[fate];
          return (
            <div class={`fate-total swatch-${fate}`} key={fate} title={meaning}>
              <dt><span class="swatch" aria-hidden="true" />{name}</dt>
              <dd>{fullNumber(amount(total, fate))}</dd>
            </div>
          );
        })}
        <div class="fate-total" title={LOST_BY_CLIENT[1]}>
          <dt>{LOST_BY_CLIENT[0]}</dt>
          <dd>{fullNumber(total.lost_by_client)}</dd>
        </div>
      </dl>
      <FateChart ledger={ledger} />
    </>
  );
}

interface ReasonsProps {
  readonly ledger: Ledger;
  readonly chosen: string;
  readonly choose: (reason: string) => void;
}

function Reasons({ ledger, chosen, choose }: ReasonsProps) {
  const rows = reasons(ledger.total);
  return (
    <section class="panel" aria-labelledby="reasons-title">
      <header class="panel-head"><h2 id="reasons-title">Why events were refused</h2></header>
      {rows.length === 0 ? <p class="nothing">Nothing was refused in this time.</p> : (
        <ul class="reasons">
          {rows.map(([reason, count]) => {
            const { name, advice } = explain(reason);
            return (
              <li key={reason}>
                <button type="button" aria-pressed={reason === chosen} onClick={() => choose(reason === chosen ? "" : reason)}>
                  <strong>{name}</strong><span class="number">{fullNumber(count)}</span>
                </button>
                <p class="muted">{advice}</p>
              </li>
            );
          })}
        </ul>
      )}
    </section>
  );
}

function OnTheWay({ ledger }: { ledger: Ledger }) {
  const { log_records, collectors } = ledger.waiting;
  return (
    <section class="panel" aria-labelledby="way-title">
      <header class="panel-head"><h2 id="way-title">On the way</h2><span class="muted hint">all sites</span></header>
      <dl class="way">
        <div><dt>Waiting in collectors</dt><dd>{fullNumber(pending(ledger))}</dd></div>
        <div><dt>Batches in the log, not in the figures yet</dt><dd>{fullNumber(log_records)}</dd></div>
      </dl>
      <ul class="collectors">
        {collectors.map(({ edge, connected, pending: left, said_at }) => (
          <li key={edge}>
            <code>{edge.slice(0, 8)}</code> {connected ? "is connected" : `left ${said_at.slice(0, 16).replace("T", " ")}`}
            {left > 0 && `, ${fullNumber(left)} to send`}
          </li>
        ))}
      </ul>
      {collectors.length === 0 && <p class="nothing">No collector is connected.</p>}
    </section>
  );
}
