import { useEffect, useRef } from "preact/hooks";
import { changeText, fullNumber } from "../format";
import { isChosen, toggled } from "../filters";
import { canFilter, PROPERTY_LIST, type Column, type List, type ListAnswer, type ListRow } from "../lists";
import { METRIC_INFO } from "../metrics";
import { addressOf, openDetails, toggleFilter } from "../navigate";
import type { PanelState } from "../panels";
import { site, view } from "../state";
import { PropertyField } from "./property-field";
import { Menu } from "./menu";

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
  const shown = answer?.site === site.value?.id && answer?.list === list.key && answer.dimension === list.dimension ? answer : undefined;
  const tabs = lists.length > 1;
  return (
    <section class="panel list-panel" ref={section} aria-labelledby={`${key}-title`} aria-busy={state.loading.value && list.dimension !== ""}>
      <header class="panel-head">
        <h2 id={`${key}-title`}>{list.group ?? list.title}</h2>
        {list.group && <GroupMenu state={state} list={list} />}
        {tabs && <Tabs state={state} />}
      </header>
      <div class="panel-body" {...(tabs && { role: "tabpanel", id: `${key}-list`, "aria-labelledby": `${key}-tab-${list.group ?? list.key}` })}>
        {list.key === PROPERTY_LIST && <PropertyField />}
        {state.error.value && (
          <p class="list-error" role="alert">
            This list is not up to date. {state.error.value}{" "}
            <button type="button" class="button quiet" onClick={() => state.retry()}>Try again</button>
          </p>
        )}
        {shown ? <Rows answer={shown} nothing={list.nothing} /> : !state.error.value && list.dimension !== "" && <div class="panel-fill skeleton" />}
      </div>
      {shown && shown.rows.length > 0 && (
        <footer class="panel-foot">
          <button type="button" class="button quiet" onClick={() => openDetails(key)}>
            {shown.total > shown.rows.length ? `Details of all ${fullNumber(shown.total)}` : "Details"}
          </button>
        </footer>
      )}
    </section>
  );
}

/** Which list of a tab that has several. */
function GroupMenu({ state, list }: { state: PanelState; list: List }) {
  const choices = state.panel.lists.filter(({ group }) => group === list.group);
  return (
    <Menu label={`${list.group}: ${list.tab}`} align="end" chosen={list.key}
      choose={(key) => state.choose(choices.find((each) => each.key === key) ?? list)}
      choices={choices.map(({ key, tab }) => ({ value: key, name: tab }))}>
      {list.tab}
    </Menu>
  );
}

/** One of the lists; arrows move between them. */
function Tabs({ state }: { state: PanelState }) {
  const { key, lists } = state.panel;
  const list = state.list.value;
  const first = lists.filter((each, at) => !each.group || lists.findIndex(({ group }) => group === each.group) === at);
  const name = (each: List) => each.group ?? each.key;
  const chosen = first.findIndex((each) => name(each) === name(list));
  const move = (event: KeyboardEvent) => {
    const last = first.length - 1;
    const to = { ArrowLeft: chosen === 0 ? last : chosen - 1, ArrowRight: chosen === last ? 0 : chosen + 1, Home: 0, End: last }[event.key];
    const next = to === undefined ? undefined : first[to];
    if (!next) return;
    event.preventDefault();
    state.choose(next);
    document.getElementById(`${key}-tab-${name(next)}`)?.focus();
  };
  return (
    <div class="segments" role="tablist" aria-labelledby={`${key}-title`} onKeyDown={move} data-own-arrows>
      {first.map((each, at) => (
        <button key={each.key} type="button" role="tab" id={`${key}-tab-${name(each)}`} aria-selected={at === chosen} aria-controls={`${key}-list`}
          tabIndex={at === chosen ? 0 : -1} onClick={() => at !== chosen && state.choose(each)}>
          {each.group ?? each.tab}
        </button>
      ))}
    </div>
  );
}

function Rows({ answer, nothing }: { answer: ListAnswer; nothing: string }) {
  if (answer.rows.length === 0) return <p class="nothing">{nothing}</p>;
  return (
    <div class="table-scroll" tabIndex={-1} data-own-arrows>
      <table class="rows list">
        <thead>
          <tr>
            <th scope="col"><span class="visually-hidden">Value</span></th>
            {answer.columns.map(({ metric, name }) => <th key={metric} scope="col" class="number" title={METRIC_INFO[metric].meaning}>{name}</th>)}
          </tr>
        </thead>
        <tbody><ListRows answer={answer} /></tbody>
      </table>
    </div>
  );
}

/** The rows of a list, of which each filters by its value. */
export function ListRows({ answer: { rows, columns, dimension, currency } }: { answer: ListAnswer }) {
  const most = Math.max(1, ...rows.map(({ figures: [first] }) => first ?? 0));
  return (
    <>
      {rows.map((row) => (
        <tr key={row.value}>
          <th scope="row">
            <span class="bar" style={{ "--share": `${(100 * (row.figures[0] ?? 0)) / most}%` }} aria-hidden="true" />
            <Value row={row} dimension={dimension} />
          </th>
          {columns.map((column, at) => <Figure key={column.metric} row={row} column={column} at={at} currency={currency} />)}
        </tr>
      ))}
    </>
  );
}

function Value({ row: { value, label }, dimension }: { row: ListRow; dimension: string }) {
  if (!canFilter(dimension, value)) return <span class="path" title={label}>{label}</span>;
  const chosen = isChosen(view.value.filters, dimension, value);
  return (
    <a class="path" href={addressOf({ filters: toggled(view.value.filters, dimension, value), details: "" })} title={`${label}\n${chosen ? "Filtered by this: click to end that" : "Click to filter by this; with Shift, by this, too"}`}
      aria-current={chosen ? "true" : undefined}
      onClick={(event) => {
        // Others open a tab, as ever.
        if (event.button !== 0 || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        toggleFilter(dimension, value, event.shiftKey);
      }}>{label}</a>
  );
}

function Figure({ row, column: { metric }, at, currency }: { row: ListRow; column: Column; at: number; currency: string }) {
  const { short, full, lessIsBetter, share } = METRIC_INFO[metric];
  const value = row.figures[at] ?? null;
  const change = at === 0 ? row.change?.[at] : undefined;
  return (
    <td class="number" title={value === null ? undefined : full(value, currency)}>
      {typeof change === "number" && <Change value={change} points={share === true} lessIsBetter={lessIsBetter === true} />}
      {value === null ? "–" : short(value, currency)}
    </td>
  );
}

/** By how much a figure changed, in the colour of good or bad news; the sign says it, too. */
export function Change({ value, points, lessIsBetter }: { value: number; points: boolean; lessIsBetter: boolean }) {
  const news = value === 0 ? "same" : value > 0 !== lessIsBetter ? "good" : "bad";
  return <span class={`change change-${news}`}>{changeText(value, points)} </span>;
}
