import { fullNumber, percent, shortNumber } from "../format";
import { periodName } from "../period";
import { allPages, loading, report, toggleAllPages } from "../state";

export function Pages() {
  const shown = report.value;
  const rows = shown?.pages ?? [];
  const most = Math.max(1, ...rows.map(({ visitors }) => visitors));
  const others = shown && shown.pagesPeriod.key !== shown.period.key;
  return (
    <section class="panel" aria-labelledby="pages-title" aria-busy={loading.value}>
      <header class="panel-head">
        <h2 id="pages-title">Top pages</h2>
        {/* Pages are counted by the day. */}
        {others && <span class="chip" title="Pages are counted by the day">{periodName(shown.pagesPeriod)}</span>}
      </header>
      {!shown ? <div class="panel-fill skeleton" />
        : rows.length === 0 ? <p class="nothing">No page was viewed in this period.</p>
        : (
          <div class={allPages.value ? "table-scroll pages-scroll" : "table-scroll"} tabIndex={allPages.value ? 0 : -1} data-own-arrows>
            <table class="rows pages">
              <thead>
                <tr>
                  <th scope="col">Page</th>
                  <th scope="col" class="number">Visitors</th>
                  <th scope="col" class="number">Views</th>
                  <th scope="col" class="number">Bounce<span class="wide-only"> rate</span></th>
                </tr>
              </thead>
              <tbody>
                {rows.map(({ path, visitors, pageviews, bounceRate }) => (
                  <tr key={path}>
                    <th scope="row" title={path}>
                      <span class="bar" style={{ "--share": `${(100 * visitors) / most}%` }} aria-hidden="true" />
                      <span class="path">{path}</span>
                    </th>
                    <td class="number" title={fullNumber(visitors)}>{shortNumber(visitors)}</td>
                    <td class="number" title={fullNumber(pageviews)}>{shortNumber(pageviews)}</td>
                    <td class="number">{bounceRate === null ? "–" : percent(bounceRate)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      {shown && (allPages.value || shown.pagesTotal > rows.length) && (
        <footer class="panel-foot">
          <button type="button" class="button quiet" aria-expanded={allPages.value} onClick={toggleAllPages}>
            {allPages.value ? "Show fewer" : `Show more of ${fullNumber(shown.pagesTotal)}`}
          </button>
        </footer>
      )}
    </section>
  );
}
