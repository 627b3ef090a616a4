import { useEffect, useRef } from "preact/hooks";
import { fullNumber } from "../format";
import type { List, ListAnswer } from "../lists";
import type { PanelState } from "../panels";
import { periodName } from "../period";
import { site } from "../state";

/** Panels are asked for when they are this close to the screen. */
const NEAR = "200px";

export function ListPanel({ state }: { state: PanelState }) {
  const section = useRef<HTMLElement>(null);
  useEffect(() => {
    const element = section.current;
    if (!element) return;
    const observer = new IntersectionObserver(
      (entries) => state.see(entries.some(({ isIntersecting }) => isIntersecting)),
      { rootMargin: NEAR },
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      state.see(false);
    };
  }, [state]);

  const { key, lists } = state.panel;
  const list = state.list.value;
  const answer = state.answer.value;
  const shown = answer?.site === site.value?.id && answer?.list === list.key ? answer : undefined;
  const others = shown && shown.rowsPeriod.key !== shown.period.key;
  const long = state.long.value;
  return (
    <section class="panel" ref={section} aria-labelledby={`${key}-title`} aria-busy={state.loading.value}>
      <header class="panel-head">
        <h2 id={`${key}-title`}>{list.title}</h2>
        {others && <span class="chip" title="Lists are counted by the day">{periodName(shown.rowsPeriod)}</span>}
        {lists.length > 1 && <Tabs state={state} />}
      </header>
      <div class="panel-body" {...(lists.length > 1 && { role: "tabpanel", id: `${key}-list`, "aria-labelledby": `${key}-${list.key}` })}>
        {state.error.value && (
          <p class="list-error" role="alert">
            This list is not up to date. {state.error.value}{" "}
            <button type="button" class="button quiet" onClick={() => state.retry()}>Try again</button>
          </p>
        )}
        {shown ? <Rows list={list} answer={shown} long={long} /> : !state.error.value && <div class="panel-fill skeleton" />}
      </div>
      {shown && (long || shown.total > shown.rows.length) && (
        <footer class="panel-foot">
          <button type="button" class="button quiet" aria-expanded={long} onClick={() => (state.long.value = !long)}>
            {long ? "Show fewer" : `Show more of ${fullNumber(shown.total)}`}
          </button>
        </footer>
      )}
    </section>
  );
}

/** One of the lists; arrows move between them. */
function Tabs({ state }: { state: PanelState }) {
  const { key, lists } = state.panel;
  const chosen = lists.indexOf(state.list.value);
  const move = (event: KeyboardEvent) => {
    const last = lists.length - 1;
    const to = { ArrowLeft: chosen === 0 ? last : chosen - 1, ArrowRight: chosen === last ? 0 : chosen + 1, Home: 0, End: last }[event.key];
    const list = to === undefined ? undefined : lists[to];
    if (!list) return;
    event.preventDefault();
    state.choose(list);
    document.getElementById(`${key}-${list.key}`)?.focus();
  };
  return (
    <div class="segments" role="tablist" aria-labelledby={`${key}-title`} onKeyDown={move} data-own-arrows>
      {lists.map((list, at) => (
        <button key={list.key} type="button" role="tab" id={`${key}-${list.key}`} aria-selected={at === chosen} aria-controls={`${key}-list`}
          tabIndex={at === chosen ? 0 : -1} onClick={() => state.choose(list)}>
          {list.tab}
        </button>
      ))}
    </div>
  );
}

function Rows({ list, answer, long }: { list: List; answer: ListAnswer; long: boolean }) {
  if (answer.rows.length === 0) return <p class="nothing">{list.nothing}</p>;
  const most = Math.max(1, ...answer.rows.map(({ figures: [first] }) => first ?? 0));
  return (
    <div class={long ? "table-scroll list-scroll" : "table-scroll"} tabIndex={long ? 0 : -1} data-own-arrows>
      <table class="rows list">
        <thead>
          <tr>
            <th scope="col">{list.value}</th>
            {list.columns.map(({ metric, name }) => <th key={metric} scope="col" class="number">{name}</th>)}
          </tr>
        </thead>
        <tbody>
          {answer.rows.map(({ label, figures }) => (
            <tr key={label}>
              <th scope="row" title={label}>
                <span class="bar" style={{ "--share": `${(100 * (figures[0] ?? 0)) / most}%` }} aria-hidden="true" />
                <span class="path">{label}</span>
              </th>
              {list.columns.map(({ metric, short, full }, at) => {
                const value = figures[at] ?? null;
                return <td key={metric} class="number" title={value === null ? undefined : full(value)}>{value === null ? "–" : short(value)}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
