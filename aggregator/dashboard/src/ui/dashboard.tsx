import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { exportNotice } from "../export";
import { fullNumber } from "../format";
import { panels } from "../panels";
import { explained, filterOpen, isPublic, page, report, reportError, retry, seen, segmentsOpen, site, view, visitorsNow } from "../state";
import { ChartPanel } from "./chart-panel";
import { ComparisonMenu, FilterButton, Pills, SegmentsMenu } from "./filter-bar";
import { Help } from "./help";
import { FirstEvent, Install } from "./install";
import { lazy } from "./lazy";
import { ListPanel } from "./list-panel";
import { CustomRange, PeriodPicker } from "./period-picker";
import { EventStream } from "./stream";
import { TopBar } from "./topbar";
import { Trending } from "./trending";

const LedgerPage = lazy(() => import("./ledger/page"));
const GoalsPage = lazy(() => import("./goals/page"));
const RulesPage = lazy(() => import("./rules/page"));
const SharingPage = lazy(() => import("./sharing/page"));
const Details = lazy(() => import("./details"), true);
const FilterDialog = lazy(() => import("./filter-dialog"), true);
const SegmentsDialog = lazy(() => import("./segments-dialog"), true);
const Explanation = lazy(() => import("./explanation"), true);

const PAGES = { ledger: LedgerPage, goals: GoalsPage, rules: RulesPage, sharing: SharingPage, report: Report } as const;

export function Dashboard() {
  const Page = isPublic ? Report : PAGES[page.value];
  return (
    <>
      <a class="skip" href="#main">Skip to the figures</a>
      <TopBar />
      <main id="main" class="page" tabIndex={-1}><Page /></main>
      <Help />
      <CustomRange />
      {filterOpen.value !== undefined && <FilterDialog key={filterOpen.value} />}
      {segmentsOpen.value && <SegmentsDialog />}
      {explained.value && <Explanation key={explained.value} />}
      {page.value === "report" && view.value.details && <Details key={view.value.details} />}
    </>
  );
}

function Report() {
  const current = site.value;
  const realtime = view.value.period.key === "realtime";
  return (
    <>
      <div class="toolbar">
        <VisitorsNow />
        {seen.value !== false && (
          <div class="tools">
            <FilterButton />
            <SegmentsMenu />
            <ComparisonMenu />
            <PeriodPicker />
          </div>
        )}
      </div>
      <Pills />
      {reportError.value && (
        <div class="banner" role="alert">
          <p><strong>The figures are not up to date.</strong> {reportError.value}</p>
          <button type="button" class="button" onClick={retry}>Try again</button>
        </div>
      )}
      {!isPublic && <Export />}
      <FirstEvent />
      {current && seen.value === false && report.value ? (
        isPublic ? <p class="nothing">Nothing has happened on {current.domain} yet.</p> : <Install site={current} />
      ) : (
        <>
          <h1 class="visually-hidden">{current?.domain}</h1>
          <ChartPanel />
        </>
      )}
      <div class="columns">
        {realtime && seen.value !== false && <Trending />}
        {realtime && !isPublic && <EventStream />}
        {seen.value !== false && panels.map((panel) => <ListPanel key={panel.panel.key} state={panel} />)}
        {!realtime && !isPublic && <EventStream />}
      </div>
    </>
  );
}

/** How often it is looked at how InfluxDB is. */
const EXPORT_MS = 15_000;

/** A line while what others read of the figures lags behind what is shown here. */
function Export() {
  const [notice, setNotice] = useState("");
  useEffect(() => {
    const end = new AbortController();
    const look = (): void => {
      if (document.visibilityState === "hidden") return;
      api.status(end.signal).then(
        ({ metrics }) => setNotice(exportNotice(metrics, Date.now())),
        () => undefined, // the report says that the server can't be reached
      );
    };
    look();
    const timer = setInterval(look, EXPORT_MS);
    return () => {
      clearInterval(timer);
      end.abort();
    };
  }, []);
  return notice ? (
    <div class="banner" role="status">
      <p><strong>InfluxDB is behind.</strong> {notice}</p>
    </div>
  ) : null;
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
