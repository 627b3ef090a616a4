/** The course of one figure. uPlot draws; x is the position of a bucket, so that no time zone is involved. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { axisLabel, fullLabel } from "../labels";
import { METRIC_INFO, type Metric } from "../metrics";
import type { Interval } from "../period";
import { changeText } from "../format";
import type { Report, Series } from "../report";
import { useDark } from "./topbar";

interface ChartProps {
  readonly report: Report;
  readonly metric: Metric;
  readonly description: string;
}

export function Chart({ report, metric, description }: ChartProps) {
  const { series, currency } = report;
  const host = useRef<HTMLDivElement>(null);
  const drawing = useRef<Drawing | undefined>(undefined);
  const dark = useDark();
  const bars = series.interval === "minute";

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new Drawing(element, bars);
    drawing.current = made;
    return () => made.destroy();
  }, [dark, bars]);
  useEffect(() => drawing.current?.show(series, metric, currency), [series, metric, currency, dark, bars]);

  return <div ref={host} class="chart-space chart" role="img" aria-label={description} />;
}

type Column = (number | null)[];

/** A chart in an element, redrawn whenever data or size change. */
class Drawing {
  readonly #plot: uPlot;
  readonly #tip = document.createElement("div");
  readonly #now = document.createElement("div");
  readonly #resize: ResizeObserver;
  #series: Series | undefined;
  #metric: Metric = "visitors";
  #currency = "";

  constructor(
    private readonly host: HTMLElement,
    bars: boolean,
  ) {
    this.#tip.className = "chart-tip";
    this.#now.className = "chart-now";
    // A canvas knows no variables: the value is read from an element that has the colour.
    const colour = (name: string) => {
      host.style.color = `var(${name})`;
      const value = getComputedStyle(host).color;
      host.style.color = "";
      return value;
    };
    const line = colour("--accent");
    const [from, to, surface, muted, grid, other] = ["--chart-fill", "--chart-fill-end", "--surface", "--muted", "--grid", "--chart-other"]
      .map(colour) as [string, string, string, string, string, string];
    const fill = (plot: uPlot) => {
      const gradient = plot.ctx.createLinearGradient(0, plot.bbox.top, 0, plot.bbox.top + plot.bbox.height);
      gradient.addColorStop(0, from);
      gradient.addColorStop(1, to);
      return gradient;
    };
    const font = `11px ${getComputedStyle(host).fontFamily}`;
    const common = { stroke: line, width: 2, points: { show: false }, spanGaps: true } satisfies Partial<uPlot.Series>;
    const paths = bars && uPlot.paths.bars ? { paths: uPlot.paths.bars({ size: [0.72, 28], radius: 0.2 }), width: 0, fill: line } : { fill };
    this.#plot = new uPlot(
      {
        ...this.#size(),
        padding: [12, 20, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          // The line stands where the value is, not where the mouse is.
          move: (plot, left, top) => [left < 0 ? left : plot.valToPos(plot.posToIdx(left), "x"), top],
          drag: { x: false, y: false },
          points: { size: 9, width: 2, fill: line, stroke: () => surface },
        },
        scales: {
          x: { time: false, range: (_, first, last) => (bars ? [first - 0.5, last + 0.5] : first === last ? [first - 1, last + 1] : [first, last]) },
          y: { range: (_, __, highest) => [0, niceTop(highest, this.#metric)] },
        },
        series: [{}, { ...common, ...paths }, { ...common, fill, dash: [4, 5] }, { ...common, stroke: other, width: 1.5 }],
        axes: [
          {
            font, stroke: muted, size: 30, gap: 8,
            grid: { show: false }, ticks: { show: false },
            splits: (plot) => this.#xSplits(plot),
            values: (_, splits) => splits.map((at) => this.#xLabel(at)),
          },
          {
            font, stroke: muted, size: (_, values) => 14 + 7 * Math.max(2, ...(values ?? []).map((text) => text.length)),
            gap: 8,
            grid: { stroke: grid, width: 1 }, ticks: { show: false },
            splits: (plot) => ySplits(plot.scales.y?.max ?? 1),
            values: (_, splits) => splits.map((value) => METRIC_INFO[this.#metric].short(value, this.#currency).replace(/ 00[sm]$/, "")),
          },
        ],
        hooks: { setCursor: [(plot) => this.#point(plot)], draw: [(plot) => this.#mark(plot)] },
      },
      [[], [], [], []],
      host,
    );
    this.#plot.over.append(this.#now, this.#tip);
    this.#resize = new ResizeObserver(() => this.#plot.setSize(this.#size()));
    this.#resize.observe(host);
  }

  show(series: Series, metric: Metric, currency: string): void {
    this.#series = series;
    this.#metric = metric;
    this.#currency = currency;
    const values = series.values[metric] ?? series.labels.map(() => null);
    const whole: Column = [...values];
    const open: Column = values.map(() => null);
    // What is still filling is dashed, from the last complete bucket on.
    const { current } = series;
    if (current > 0 && series.interval !== "minute" && values[current] !== null) {
      whole[current] = null;
      open[current] = values[current] ?? null;
      const last = values.slice(0, current).findLastIndex((value) => value !== null);
      if (last >= 0) open[last] = values[last] ?? null;
    }
    // The other time may have fewer buckets, or more: what is beyond the end is left out.
    const before = values.map((_, at) => series.before?.values[metric]?.[at] ?? null);
    this.#plot.setData([values.map((_, at) => at), whole, open, before]);
  }

  destroy(): void {
    this.#resize.disconnect();
    this.#plot.destroy();
  }

  #size(): { width: number; height: number } {
    return { width: Math.max(200, this.host.clientWidth), height: Math.max(120, this.host.clientHeight) };
  }

  #xLabel(at: number): string {
    const { labels, interval } = this.#series ?? { labels: [], interval: "day" as Interval };
    const label = labels[at];
    return label ? axisLabel(label, interval, labels[0]?.slice(0, 10) !== labels.at(-1)?.slice(0, 10)) : "";
  }

  /** As many labels as fit, at round distances. */
  #xSplits(plot: uPlot): number[] {
    const { labels, interval } = this.#series ?? { labels: [], interval: "day" as Interval };
    const fit = Math.max(2, Math.floor(plot.over.clientWidth / 64));
    const steps = { minute: [5, 10, 15], hour: [1, 2, 3, 4, 6, 12, 24, 48], day: [1, 2, 3, 5, 7, 14, 30, 60, 90, 180, 365], week: [1, 2, 4, 8, 13, 26, 52], month: [1, 2, 3, 6, 12, 24] }[interval];
    const step = steps.find((each) => labels.length / each <= fit) ?? Math.ceil(labels.length / fit);
    // Minutes are labelled at round times of the clock, wherever the window begins.
    const first = interval === "minute" ? (step - (Number(labels[0]?.slice(14, 16)) % step)) % step : 0;
    const splits: number[] = [];
    for (let at = first; at < labels.length; at += step) splits.push(at);
    return splits;
  }

  /** The pulsing point of the bucket that is still filling. */
  #mark(plot: uPlot): void {
    const at = this.#series?.current ?? -1;
    const value = this.#series?.values[this.#metric]?.[at];
    const shown = value !== null && value !== undefined && this.#series?.interval !== "minute";
    this.#now.hidden = !shown;
    if (shown) this.#now.style.transform = `translate(${plot.valToPos(at, "x")}px, ${plot.valToPos(value, "y")}px)`;
  }

  #point(plot: uPlot): void {
    const at = plot.cursor.idx;
    const series = this.#series;
    const label = typeof at === "number" ? series?.labels[at] : undefined;
    const value = typeof at === "number" ? (series?.values[this.#metric]?.[at] ?? null) : null;
    const other = typeof at === "number" ? (series?.before?.values[this.#metric]?.[at] ?? null) : null;
    this.#tip.hidden = !label || (value === null && other === null);
    if (this.#tip.hidden || !series || !label || typeof at !== "number") return;
    const line = (kind: "strong" | "span", text: string) => Object.assign(document.createElement(kind), { textContent: text });
    const { full, share } = METRIC_INFO[this.#metric];
    const lines: HTMLElement[] = [];
    const open = at === series.current;
    if (value !== null) {
      lines.push(line("strong", full(value, this.#currency)));
      lines.push(line("span", fullLabel(label, series.interval) + (open ? " · so far" : "")));
    }
    const otherLabel = series.before?.labels[at];
    if (other !== null && otherLabel) {
      // A bucket that is not over has nothing fair to be compared with.
      const change = value === null || open || other === 0 ? "" : ` (${changeText(share ? value - other : (100 * (value - other)) / other, share === true)})`;
      lines.push(line("span", `${fullLabel(otherLabel, series.interval)}: ${full(other, this.#currency)}${change}`));
    }
    this.#tip.replaceChildren(...lines);
    const x = plot.valToPos(at, "x");
    const width = this.#tip.offsetWidth;
    const left = x + 14 + width > plot.over.clientWidth ? x - 14 - width : x + 14;
    this.#tip.style.transform = `translate(${Math.max(-40, left)}px, 0)`;
  }
}

/** The top of the scale: a round number a little above the highest value, in four equal steps. */
function niceTop(highest: number | null, metric: Metric): number {
  const value = highest ?? 0;
  if (metric === "bounce_rate" || metric === "scroll_depth") return 100;
  if (metric === "visit_duration" || metric === "time_on_page") {
    const step = [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((each) => each * 4 >= value);
    return 4 * (step ?? Math.ceil(value / 4 / 3600) * 3600);
  }
  if (value <= 4) return 4;
  const rough = value / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((each) => each * power).find((each) => each >= rough && Number.isInteger(each)) ?? 10 * power;
  return 4 * step;
}

function ySplits(top: number): number[] {
  return [0, 1, 2, 3, 4].map((each) => (top / 4) * each);
}
