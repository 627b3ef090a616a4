import { fullNumber } from "../format";
import { report, reportError, retry, seen, site, visitorsNow } from "../state";
import { ChartPanel } from "./chart-panel";
import { Help } from "./help";
import { Install } from "./install";
import { Pages } from "./pages";
import { CustomRange, PeriodPicker } from "./period-picker";
import { EventStream } from "./stream";
import { TopBar } from "./topbar";

export function Dashboard() {
  const current = site.value;
  return (
    <>
      <a class="skip" href="#main">Skip to the figures</a>
      <TopBar />
      <main id="main" class="page" tabIndex={-1}>
        <div class="toolbar">
          <VisitorsNow />
          {seen.value !== false && <PeriodPicker />}
        </div>
        {reportError.value && (
          <div class="banner" role="alert">
            <p><strong>The figures are not up to date.</strong> {reportError.value}</p>
            <button type="button" class="button" onClick={retry}>Try again</button>
          </div>
        )}
        {current && seen.value === false && report.value ? (
          <Install site={current} />
        ) : (
          <>
            <h1 class="visually-hidden">{current?.domain}</h1>
            <ChartPanel />
          </>
        )}
        <div class="columns">
          {seen.value !== false && <Pages />}
          <EventStream />
        </div>
      </main>
      <Help />
      <CustomRange />
    </>
  );
}

function VisitorsNow() {
  const now = visitorsNow.value;
  return (
    <p class="now" title="Active in the last five minutes">
      <span class={now ? "pulse" : "pulse still"} aria-hidden="true" />
      <strong>{now === undefined ? "–" : fullNumber(now)}</strong> {now === 1 ? "visitor" : "visitors"} now
    </p>
  );
}
