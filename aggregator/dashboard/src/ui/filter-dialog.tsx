/** A form for one filter, with the values that there are. Loaded when somebody opens it. */
import { useEffect, useState } from "preact/hooks";
import { query } from "../api";
import { DIMENSIONS, dimensionName, propertyDimension, propertyOf, SEGMENT, valueLabel } from "../dimensions";
import { OPERATOR_NAMES, operatorsFor, put, toApi, type Operator } from "../filters";
import { fullNumber, localStamp } from "../format";
import { putFilter } from "../navigate";
import { dateRange } from "../period";
import { filterOpen, site, view } from "../state";
import { Dialog } from "./dialog";
import { Close } from "./icons";
import { segmentName } from "./filter-bar";

const SUGGESTIONS = 8;
const TYPING_MS = 200;
/** Stands for a property of events, whose name is written beside it. */
const PROPERTY = "property";
const GROUPS = [...new Set(DIMENSIONS.map(({ group }) => group))];

export default function FilterDialog() {
  const at = filterOpen.value ?? -1;
  const edited = view.value.filters[at];
  const [dimension, setDimension] = useState(edited?.dimension ?? "event:page");
  const [operator, setOperator] = useState<Operator>(edited?.operator ?? "is");
  const [values, setValues] = useState<readonly string[]>(edited?.values ?? []);
  const [text, setText] = useState("");
  const property = propertyOf(dimension);
  const close = () => (filterOpen.value = undefined);
  const choose = (next: string) => {
    setDimension(next);
    setValues([]);
    setText("");
    if (!operatorsFor(next).includes(operator)) setOperator("is");
  };
  const add = (value: string) => {
    const typed = value.trim();
    if (typed !== "" && !values.includes(typed)) setValues([...values, typed]);
    setText("");
  };
  const submit = (event: Event) => {
    event.preventDefault();
    // What is typed and not yet taken is meant, too.
    const all = text.trim() === "" ? values : [...values, text.trim()];
    if (all.length === 0 || property === "") return;
    close();
    putFilter(at, { operator, dimension, values: all });
  };
  if (dimension === SEGMENT) return <OfSegment at={at} values={values} close={close} />;
  return (
    <Dialog title={edited ? "Edit filter" : "Filter"} close={close}>
      <form class="filter-form" onSubmit={submit}>
        <div class="filter-what">
          <label>What
            <select value={property === undefined ? dimension : PROPERTY} autoFocus={!edited}
              onChange={({ currentTarget: { value } }) => choose(value === PROPERTY ? propertyDimension("") : value)}>
              {GROUPS.map((group) => (
                <optgroup key={group} label={group}>
                  {DIMENSIONS.filter((each) => each.group === group).map((each) => <option key={each.dimension} value={each.dimension}>{each.name}</option>)}
                  {group === "Behaviour" && <option value={PROPERTY}>Property of events…</option>}
                </optgroup>
              ))}
            </select>
          </label>
          {property !== undefined && (
            <label>Property
              <input required maxLength={300} value={property} placeholder="plan"
                onInput={({ currentTarget: { value } }) => setDimension(propertyDimension(value.trim()))} />
            </label>
          )}
          <label>How
            <select value={operator} onChange={({ currentTarget: { value } }) => setOperator(value as Operator)}>
              {operatorsFor(dimension).map((each) => <option key={each} value={each}>{OPERATOR_NAMES[each]}</option>)}
            </select>
          </label>
        </div>
        <label>{operator.startsWith("matches") ? "Regular expressions (RE2)" : "Values"}, of which one has to fit
          <input type="search" value={text} autoFocus={edited !== undefined} maxLength={2000} placeholder={`Search or write: ${dimensionName(dimension)}`}
            onInput={({ currentTarget: { value } }) => setText(value)}
            onKeyDown={(event) => {
              if (event.key !== "Enter" || text.trim() === "") return;
              event.preventDefault();
              add(text);
            }} />
        </label>
        {values.length > 0 && (
          <ul class="filter-values" aria-label="Chosen values">
            {values.map((value) => (
              <li key={value} class="pill">
                <span class="pill-text">{valueLabel(dimension, value)}</span>
                <button type="button" class="pill-remove" aria-label={`Remove ${valueLabel(dimension, value)}`}
                  onClick={() => setValues(values.filter((each) => each !== value))}><Close /></button>
              </li>
            ))}
          </ul>
        )}
        {property !== "" && <Suggestions dimension={dimension} text={text} chosen={values} at={at} add={add} />}
        <div class="dialog-actions">
          {edited && <button type="button" class="button" onClick={() => { close(); putFilter(at, undefined); }}>Remove</button>}
          <button type="submit" class="button primary" disabled={values.length === 0 && text.trim() === ""}>Apply</button>
        </div>
      </form>
    </Dialog>
  );
}

interface SuggestionsProps {
  readonly dimension: string;
  readonly text: string;
  readonly chosen: readonly string[];
  readonly at: number;
  readonly add: (value: string) => void;
}

/** The values that there are under the other filters, the most frequent first. */
function Suggestions({ dimension, text, chosen, at, add }: SuggestionsProps) {
  const [found, setFound] = useState<readonly { readonly value: string; readonly visitors: number }[]>([]);
  const [said, setSaid] = useState("");
  const others = put(view.value.filters, at, undefined);
  useEffect(() => {
    const current = site.value;
    if (!current) return;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const now = Date.now();
      const typed = text.trim();
      const search = typed ? [["contains", dimension, [typed], { case_sensitive: false }]] : [];
      query({
        site_id: current.id, metrics: ["visitors"], dimensions: [dimension],
        date_range: dateRange(view.value.period, now, localStamp(now, current.timezone).slice(0, 10)),
        filters: [...toApi(others), ...search], pagination: { limit: SUGGESTIONS + chosen.length, offset: 0 },
      }, abort.signal).then(
        ({ results }) => {
          setSaid(results.length === 0 ? "No such value in this period." : "");
          setFound(results.map(({ dimensions: [value = ""], metrics: [visitors] }) => ({ value, visitors: Number(visitors ?? 0) })));
        },
        (error: unknown) => {
          if (abort.signal.aborted) return;
          setFound([]);
          setSaid(error instanceof Error ? error.message : String(error));
        },
      );
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [dimension, text, chosen.length]);
  return (
    <div class="suggestions">
      <p class="muted" role="status">{said}</p>
      <ul aria-label="Values in this period">
        {found.filter(({ value }) => !chosen.includes(value)).slice(0, SUGGESTIONS).map(({ value, visitors }) => (
          <li key={value}>
            <button type="button" onClick={() => add(value)}>
              <span class="path">{valueLabel(dimension, value)}</span>
              <span class="muted number">{fullNumber(visitors)} {visitors === 1 ? "visitor" : "visitors"}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A segment is one choice: what it filters by is told, and it is taken or left. */
function OfSegment({ at, values, close }: { at: number; values: readonly string[]; close: () => void }) {
  return (
    <Dialog title="Segment" close={close}>
      <p>Filtered by the segment <strong>{values.map(segmentName).join(" or ")}</strong>.</p>
      <div class="dialog-actions">
        <button type="button" class="button" onClick={() => { close(); putFilter(at, undefined); }}>Remove</button>
      </div>
    </Dialog>
  );
}
