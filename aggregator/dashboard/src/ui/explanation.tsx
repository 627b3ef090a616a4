/** What a figure means, how fresh and how exact it is, and some of the events that it is of. Loaded when somebody opens it. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { toApi, type ApiFilter } from "../filters";
import { clock, fullNumber, localStamp, roughly } from "../format";
import { figureName, METRIC_INFO, type Metric } from "../metrics";
import { dateRange, periodName } from "../period";
import { valueLabel } from "../dimensions";
import { explained, isPublic, report, site, view } from "../state";
import { Dialog } from "./dialog";

const SAMPLE = 8;
/** Which events a figure is of, where it is not of all. */
const EVENTS_OF: Readonly<Partial<Record<Metric, readonly ApiFilter[]>>> = {
  pageviews: [["is", "event:name", ["pageview"]]],
  orders: [["is", "event:name", ["order"]]],
  total_revenue: [["is", "event:name", ["order"]]],
  average_revenue: [["is", "event:name", ["order"]]],
};

export default function Explanation() {
  const metric = explained.value;
  const shown = report.value;
  const current = site.value;
  const [answer, setAnswer] = useState<api.Answer>();
  const [sample, setSample] = useState<Awaited<ReturnType<typeof api.sample>>>();
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!current || !metric) return;
    const abort = new AbortController();
    const now = Date.now();
    const range = dateRange(view.value.period, now, localStamp(now, current.timezone).slice(0, 10));
    const filters = toApi(view.value.filters);
    const fail = (error: unknown) => abort.signal.aborted || setSaid(error instanceof Error ? error.message : String(error));
    const include = { freshness: true, source: true, generation: true };
    api.query({ site_id: current.id, metrics: [metric], date_range: range, filters, include }, abort.signal).then(setAnswer, fail);
    if (!isPublic) {
      const of = EVENTS_OF[metric] ?? [];
      api.sample({ site_id: current.id, date_range: range, filters: [...filters, ...of], limit: SAMPLE }, abort.signal).then(setSample, fail);
    }
    return () => abort.abort();
  }, [metric, current?.id]);
  if (!metric || !shown || !current) return null;

  const { meaning, full } = METRIC_INFO[metric];
  const name = figureName(metric, view.value.filters);
  const value = api.amount(answer?.results[0]?.metrics[0]);
  const { source, freshness, generation, metric_warnings: warnings } = answer?.meta ?? {};
  const range = answer?.query?.date_range.map((time) => time.replace("T", " ").slice(0, 16)).join(" – ");
  return (
    <Dialog title={name} wide close={() => (explained.value = undefined)}>
      <p>{meaning}</p>
      <p class="details-said" role="status">{said}</p>
      <dl class="facts">
        <div><dt>{periodName(view.value.period)}</dt><dd>{!answer ? "…" : value === null ? "nothing to tell" : full(value, api.currencyOf(answer) ?? current.currency)}</dd></div>
        <div><dt>From – to</dt><dd>{range ?? "…"} <span class="muted">{current.timezone}</span></dd></div>
        <div><dt>Exact</dt><dd>{!source ? "…" : source.exact ? "yes, to the unit" : "no: a sketch, within about 1%"}</dd></div>
        <div><dt>Read from</dt><dd>{!source ? "…" : source.read === "rollups" ? "sums that are kept up to date" : <>the events themselves{source.why && <span class="muted">: {source.why}</span>}</>}</dd></div>
        <div><dt>Fresh</dt><dd>{!freshness ? "…" : freshnessText(freshness)}</dd></div>
        <div><dt>State</dt><dd>{generation === undefined ? "…" : `generation ${generation}`}</dd></div>
        {Object.values(warnings ?? {}).map(({ warning }) => <div key={warning}><dt>Note</dt><dd>{warning}</dd></div>)}
      </dl>
      {!isPublic && (
        <>
          <h3>{sample ? `The last ${Math.min(SAMPLE, sample.events.length)} of ${fullNumber(sample.matching)} events` : "Events"}</h3>
          <div class="table-scroll sample" tabIndex={0} role="region" aria-label="Sample of events">
            {sample ? <Sample events={sample.events} timezone={current.timezone} /> : <div class="panel-fill skeleton" />}
          </div>
        </>
      )}
    </Dialog>
  );
}

function freshnessText({ log_end, applied, at_ms }: { readonly log_end: number; readonly applied: number; readonly at_ms: number }): string {
  const waiting = log_end - applied;
  return waiting > 0 ? `${fullNumber(waiting)} records of the log wait to be counted; what is counted came ${roughly(Date.now() - at_ms)} ago` : "all that has arrived is counted";
}

function Sample({ events, timezone }: { events: readonly api.SampleEvent[]; timezone: string }) {
  if (events.length === 0) return <p class="nothing">No event in this period.</p>;
  return (
    <table class="rows">
      <thead><tr>{["Time", "Event", "Page", "Source", "Country", "Device"].map((name) => <th key={name} scope="col">{name}</th>)}</tr></thead>
      <tbody>
        {events.map((event, at) => (
          <tr key={at}>
            <td>{localStamp(Date.parse(event.time), timezone).slice(5, 10)} {clock(Date.parse(event.time), timezone)}</td>
            <td>{event.name}{event.order && ` ${event.order.long}`}</td>
            <td title={event.hostname + event.page}>{event.page}</td>
            <td>{event.source || "Direct"}</td>
            <td>{event.country && valueLabel("visit:country", event.country)}</td>
            <td>{[event.browser, event.device].filter(Boolean).join(", ")}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
