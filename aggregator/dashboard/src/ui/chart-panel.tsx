/** The figures and the course of the chosen one. */
import { useRef } from "preact/hooks";
import { csv, fileName, save } from "../csv";
import { fullLabel } from "../labels";
import { figureName, figuresOf, METRIC_INFO, type Metric } from "../metrics";
import { chooseInterval, chooseMetric, chooseTable } from "../navigate";
import { intervals, periodName, type Interval } from "../period";
import { explained, loading, report, site, view } from "../state";
import type { Report } from "../report";
import { Chart } from "./chart";
import { ChartIcon, Download, Info, TableIcon } from "./icons";
import { Change } from "./list-panel";

const STEP_NAMES: Readonly<Record<Interval, string>> = {
  minute: "by minute", hour: "by hour", day: "by day", week: "by week", month: "by month",
};

const STEPS = Object.keys(STEP_NAMES) as Interval[];

export function ChartPanel() {
  const shown = report.value;
  const { filters, period, table } = view.value;
  const figures = shown?.figures ?? figuresOf(filters, period.key);
  // What is not told under these filters gives way to what always is.
  const metric = figures.includes(view.value.metric) ? view.value.metric : "visitors";
  return (
    <section class="panel figures-panel" aria-label="Figures" aria-busy={loading.value}>
      <div class="figures" role="group" aria-label="Figure shown in the chart">
        {figures.map((each) => <Figure key={each} metric={each} report={shown} chosen={each === metric} />)}
      </div>
      <div class="chart-head">
        <h2>
          {table ? "All figures" : figureName(metric, filters)} <span class="muted">{shown && STEP_NAMES[shown.series.interval]}</span>
          {shown?.comparedName && !table && <span class="compared"><span class="compared-line" aria-hidden="true" />{shown.comparedName}</span>}
        </h2>
        <Steps shown={shown?.series.interval} />
        {shown && table && (
          <button type="button" class="button quiet icon-only" aria-label="Save as CSV" title="Save as CSV" onClick={() => saveSeries(shown)}><Download /></button>
        )}
        <button type="button" class="button quiet icon-only" aria-pressed={table} onClick={() => chooseTable(!table)}
          aria-label="Show as a table" title={table ? "Show as a chart" : "Show all figures as a table"}>
          {table ? <ChartIcon /> : <TableIcon />}
        </button>
      </div>
      {!shown ? <div class="chart-space skeleton" />
        : table ? <SeriesTable report={shown} />
        : <Chart report={shown} metric={metric} description={describe(shown, metric)} />}
    </section>
  );
}

/** Which steps the chart goes in, where there is a choice. */
function Steps({ shown }: { shown: Interval | undefined }) {
  const choices = intervals(view.value.period);
  if (choices.length < 2) return null;
  return (
    <div class="segments" role="group" aria-label="Steps of the chart" title="Steps of the chart (I)">
      {STEPS.filter((step) => choices.includes(step)).map((step) => (
        <button key={step} type="button" aria-pressed={step === shown} onClick={() => chooseInterval(step)}>{step}</button>
      ))}
    </div>
  );
}

function Figure({ metric, report: shown, chosen }: { metric: Metric; report: Report | undefined; chosen: boolean }) {
  const { meaning, short, full, average, share, lessIsBetter } = METRIC_INFO[metric];
  const name = figureName(metric, view.value.filters);
  const total = shown?.totals[metric];
  const value = total?.value;
  const nothing = value === null || value === undefined || (average && shown?.totals.visits !== undefined && !shown.totals.visits.value);
  const text = !shown ? "" : nothing ? "–" : short(value, shown.currency);
  // A value that changes while the same question is asked is news.
  const before = useRef({ question: "", text: "" });
  const question = shown?.question ?? "";
  const isNews = before.current.question === question && before.current.text !== text;
  const news = useRef(0);
  if (isNews) news.current += 1;
  before.current = { question, text };
  return (
    <div class={chosen ? "figure chosen" : "figure"}>
      <button type="button" class="figure-choose" aria-pressed={chosen} title={meaning} onClick={() => chooseMetric(metric)}>
        <span class="figure-name">{name}</span>
        {shown
          ? <span key={news.current} class={news.current > 0 ? "figure-value news" : "figure-value"} title={nothing ? meaning : full(value, shown.currency)}>{text}</span>
          : <span class="figure-value skeleton" />}
        {shown?.comparedName && (
          <span class="figure-change">
            {typeof total?.change === "number" && total.before && !nothing
              ? <><Change value={total.change} points={share === true} lessIsBetter={lessIsBetter === true} /><span class="muted">from {short(total.before, shown.currency)}</span></>
              : <span class="muted">{nothing ? "nothing to compare" : total?.value ? "none before" : "as before"}</span>}
          </span>
        )}
      </button>
      <button type="button" class="figure-about" aria-label={`About ${name}`} title={`What ${name} means, and where it comes from`}
        onClick={() => (explained.value = metric)}><Info /></button>
    </div>
  );
}

/** The chart in a sentence. */
function describe({ series, totals, period, currency, comparedName }: Report, metric: Metric): string {
  const { full } = METRIC_INFO[metric];
  const values = series.values[metric] ?? [];
  const total = totals[metric];
  let highest = -1;
  values.forEach((value, at) => {
    if (value !== null && value > (values[highest] ?? 0)) highest = at;
  });
  const head = `${figureName(metric, view.value.filters)} ${STEP_NAMES[series.interval]}, ${periodName(period)}`;
  const label = series.labels[highest];
  if (!label || typeof total?.value !== "number") return `${head}: nothing yet.`;
  const other = typeof total.before === "number" ? ` ${comparedName}: ${full(total.before, currency)}.` : "";
  return `${head}: ${full(total.value, currency)} in all, highest ${full(values[highest] ?? 0, currency)} at ${fullLabel(label, series.interval)}.${other}`;
}

/** The figures that the answer has by time. */
const toldByTime = ({ figures, series }: Report): readonly Metric[] => figures.filter((metric) => series.values[metric]);

function SeriesTable({ report: shown }: { report: Report }) {
  const { series, currency } = shown;
  const metrics = toldByTime(shown);
  return (
    <div class="chart-space table-scroll series-table" tabIndex={0} role="region" aria-label="Figures by time, as a table" data-own-arrows>
      <table class="rows">
        <thead><tr>
          <th scope="col">Time</th>
          {metrics.map((metric) => <th key={metric} scope="col" class="number">{figureName(metric, view.value.filters)}</th>)}
        </tr></thead>
        <tbody>
          {series.labels.map((label, at) => (
            // What begins later than now has nothing to tell.
            series.values[metrics[0] ?? "visitors"]?.[at] == null ? null : (
              <tr key={label}>
                <th scope="row">{fullLabel(label, series.interval)}{at === series.current && <span class="muted"> so far</span>}</th>
                {metrics.map((metric) => {
                  const value = series.values[metric]?.[at] ?? null;
                  return <td key={metric} class="number">{value === null ? "–" : METRIC_INFO[metric].full(value, currency)}</td>;
                })}
              </tr>
            )
          )).reverse()}
        </tbody>
      </table>
    </div>
  );
}

function saveSeries(shown: Report): void {
  const { series, period } = shown;
  const metrics = toldByTime(shown);
  const rows = series.labels.map((label, at) => [label, ...metrics.map((metric) => series.values[metric]?.[at] ?? null)]);
  save(fileName(site.value?.domain ?? "", STEP_NAMES[series.interval], periodName(period)), csv([["time", ...metrics], ...rows]));
}
