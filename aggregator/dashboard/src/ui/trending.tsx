/** Pages of the last half hour that more people are on than in the half hour before. */
import { useEffect, useState } from "preact/hooks";
import { query, type Answer } from "../api";
import { Coalescer } from "../coalesce";
import { toApi } from "../filters";
import { fullNumber } from "../format";
import { toggleFilter } from "../navigate";
import { dateRange } from "../period";
import { changes, site, view } from "../state";
import { trend, type Trend } from "../trend";

const GAP_MS = 2_000;
const REST = 4;
const CANDIDATES = 200;
const SHOWN = 9;

export function Trending() {
  const [pages, setPages] = useState<readonly Trend[]>();
  const current = site.value;
  const { filters } = view.value;
  const [refresh] = useState(() => {
    let took = 0;
    return new Coalescer(async (abort) => {
      const began = performance.now();
      const answer = await ask(abort).catch(() => undefined); // the next change asks again
      took = performance.now() - began;
      if (answer && !abort.aborted) setPages(trend(answer).slice(0, SHOWN));
    }, () => Math.max(GAP_MS, REST * took));
  });
  useEffect(() => {
    refresh.restart();
    const unsubscribe = changes.subscribe(() => refresh.request());
    return () => {
      unsubscribe();
      refresh.stop();
    };
  }, [current?.id, JSON.stringify(filters)]);
  return (
    <section class="panel" aria-labelledby="trending-title">
      <header class="panel-head">
        <h2 id="trending-title">Trending pages</h2>
        <span class="muted hint">against the 30 minutes before</span>
      </header>
      {!pages ? <div class="panel-fill skeleton" /> : pages.length === 0 ? <p class="nothing">Nobody has viewed a page in the last 30 minutes.</p> : (
        <div class="table-scroll">
          <table class="rows list">
            <thead><tr><th scope="col">Page</th><th scope="col" class="number">Visitors</th><th scope="col" class="number">Before</th></tr></thead>
            <tbody>
              {pages.map(({ page, now, before }) => (
                <tr key={page}>
                  <th scope="row">
                    <button type="button" class="path" title={`${page}\nClick to filter by this`} onClick={() => toggleFilter("event:page", page, false)}>{page}</button>
                  </th>
                  <td class="number">
                    {now !== before && <span class={now > before ? "change change-good" : "change change-bad"}>{now > before ? "+" : "−"}{fullNumber(Math.abs(now - before))} </span>}
                    {fullNumber(now)}
                  </td>
                  <td class="number">{fullNumber(before)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function ask(abort: AbortSignal): Promise<Answer | undefined> {
  const current = site.value;
  if (!current) return Promise.resolve(undefined);
  const now = Date.now();
  const half = (ago: number) => dateRange({ key: "realtime" }, now - ago * 60_000, "");
  return query({
    site_id: current.id, metrics: ["visitors"], dimensions: ["event:page"], date_range: half(0), filters: toApi(view.value.filters),
    include: { comparisons: { mode: "custom", date_range: half(30) } }, pagination: { limit: CANDIDATES, offset: 0 },
  }, abort);
}
