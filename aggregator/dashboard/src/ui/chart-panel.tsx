/** The six figures and the course of the chosen one. */
import { useRef, useState } from "preact/hooks";
import { fullLabel } from "../labels";
import { METRIC_INFO, METRICS, type Metric } from "../metrics";
import { intervals, periodName, type Interval } from "../period";
import { chooseInterval, chooseMetric, loading, report, view } from "../state";
import type { Report } from "../report";
import { Chart } from "./chart";
import { ChartIcon, TableIcon } from "./icons";

const STEP_NAMES: Readonly<Record<Interval, string>> = {
  minute: "by minute", hour: "by hour", day: "by day", week: "by week", month: "by month",
};

const STEPS = Object.keys(STEP_NAMES) as Interval[];

export function ChartPanel() {
  const [asTable, setAsTable] = useState(false);
  const shown = report.value;
  const { metric } = view.value;
  return (
    <section class="panel figures-panel" aria-label="Figures" aria-busy={loading.value}>
      <div class="figures" role="group" aria-label="Figure shown in the chart">
        {METRICS.map((each) => <Figure key={each} metric={each} report={shown} chosen={each === metric} />)}
      </div>
      <div class="chart-head">
        <h2>{METRIC_INFO[metric].name} <span class="muted">{shown && STEP_NAMES[shown.series.interval]}</span></h2>
        <Steps shown={shown?.series.interval} />
        <button type="button" class="button quiet icon-only" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}
          aria-label="Show as a table" title={asTable ? "Show as a chart" : "Show as a table"}>
          {asTable ? <ChartIcon /> : <TableIcon />}
        </button>
      </div>
      {!shown ? <div class="chart-space skeleton" />
        : asTable ? <SeriesTable report={shown} metric={metric} />
        : <Chart series={shown.series} metric={metric} description={describe(shown, metric)} />}
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
  const { name, meaning, short, full, average } = METRIC_INFO[metric];
  const value = shown?.totals[metric];
  const nothing = value === null || value === undefined || (average && !shown?.totals.visits);
  const text = !shown ? "" : nothing ? "–" : short(value);
  // A value that changes while the same question is asked is news.
  const before = useRef({ question: "", text: "" });
  const question = shown ? `${shown.site} ${JSON.stringify(shown.period)}` : "";
  const isNews = before.current.question === question && before.current.text !== text;
  const news = useRef(0);
  if (isNews) news.current += 1;
  before.current = { question, text };
  return (
    <button type="button" class="figure" aria-pressed={chosen} title={meaning} onClick={() => chooseMetric(metric)}>
      <span class="figure-name">{name}</span>
      {shown
        ? <span key={news.current} class={news.current > 0 ? "figure-value news" : "figure-value"} title={nothing ? meaning : full(value)}>{text}</span>
        : <span class="figure-value skeleton" />}
    </button>
  );
}

/** The chart in a sentence. */
function describe({ series, totals, period }: Report, metric: Metric): string {
  const { name, full } = METRIC_INFO[metric];
  const values = series.values[metric];
  const total = totals[metric];
  let highest = -1;
  values.forEach((value, at) => {
    if (value !== null && value > (values[highest] ?? 0)) highest = at;
  });
  const head = `${name} ${STEP_NAMES[series.interval]}, ${periodName(period)}`;
  const label = series.labels[highest];
  if (!label || total === null) return `${head}: nothing yet.`;
  return `${head}: ${full(total)} in all, highest ${full(values[highest] ?? 0)} at ${fullLabel(label, series.interval)}.`;
}

function SeriesTable({ report: { series }, metric }: { report: Report; metric: Metric }) {
  const { name, full } = METRIC_INFO[metric];
  return (
    <div class="chart-space table-scroll" tabIndex={0} role="region" aria-label={`${name}, as a table`} data-own-arrows>
      <table class="rows">
        <thead><tr><th scope="col">Time</th><th scope="col" class="number">{name}</th></tr></thead>
        <tbody>
          {series.labels.map((label, at) => {
            const value = series.values[metric][at];
            if (value === null || value === undefined) return null;
            return (
              <tr key={label}>
                <th scope="row">{fullLabel(label, series.interval)}{at === series.current && <span class="muted"> so far</span>}</th>
                <td class="number">{full(value)}</td>
              </tr>
            );
          }).reverse()}
        </tbody>
      </table>
    </div>
  );
}
