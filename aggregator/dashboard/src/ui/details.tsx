/** A list as a whole: searched, ordered, with all that is told of each value, and as a file. Loaded when somebody opens one. */
import { useEffect, useRef, useState } from "preact/hooks";
import { csv, fileName, save } from "../csv";
import { fullNumber } from "../format";
import { fetchList, type Column, type List, type ListAnswer, type Whole } from "../lists";
import { METRIC_INFO } from "../metrics";
import { closeDetails } from "../navigate";
import { listRequest, panels } from "../panels";
import { periodName } from "../period";
import { site, view } from "../state";
import { Dialog } from "./dialog";
import { Download } from "./icons";
import { ListRows } from "./list-panel";

const PAGE = 100;
/** Rows of a file: what the API gives at once, and how much of it. */
const FILE_PAGE = 10_000;
const FILE_ROWS = 100_000;
/** Nothing is asked while somebody types. */
const TYPING_MS = 250;

export default function Details() {
  const panel = panels.find((each) => each.panel.key === view.value.details);
  const list = panel?.list.value;
  return list?.dimension ? <OfList key={list.dimension} list={list} /> : null;
}

type Order = Whole["order"];

function OfList({ list }: { list: List }) {
  const columns: readonly Column[] = [...list.columns, ...(list.further ?? [])];
  const [search, setSearch] = useState("");
  const [order, setOrder] = useState<Order>([columns[0]?.metric ?? "visitors", "desc"]);
  const [limit, setLimit] = useState(PAGE);
  const [answer, setAnswer] = useState<ListAnswer>();
  const [said, setSaid] = useState("");
  const first = useRef(true);
  const question = JSON.stringify([listRequest(), search, order, limit]);

  useEffect(() => {
    const abort = new AbortController();
    const load = async () => {
      const request = listRequest();
      if (!request) return;
      try {
        setAnswer(await fetchList(request, list, { columns, search, order, limit, offset: 0 }, abort.signal));
        setSaid("");
      } catch (error) {
        if (!abort.signal.aborted) setSaid(error instanceof Error ? error.message : String(error));
      }
    };
    const timer = setTimeout(() => void load(), first.current ? 0 : TYPING_MS);
    first.current = false;
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [question]);

  const file = async () => {
    setSaid("Fetching all rows…");
    try {
      save(fileName(site.value?.domain ?? "", list.title, periodName(view.value.period)), await rowsOf(list, columns, search, order));
      setSaid("");
    } catch (error) {
      setSaid(error instanceof Error ? error.message : String(error));
    }
  };
  const by = (metric: string) => setOrder(([was, direction]) => [metric, was === metric && direction === "desc" ? "asc" : "desc"]);
  return (
    <Dialog title={list.title} wide close={closeDetails}>
      <div class="details-tools">
        <input type="search" aria-label={`Search ${list.title}`} placeholder="Search (/)" value={search}
          onInput={(event) => {
            setSearch(event.currentTarget.value);
            setLimit(PAGE);
          }} />
        <button type="button" class="button" onClick={() => void file()}><Download /> CSV</button>
      </div>
      <p class="details-said" role="status">
        {said || (answer ? `${fullNumber(answer.total)} ${answer.total === 1 ? "row" : "rows"} · ${periodName(view.value.period)}` : "Loading…")}
      </p>
      <div class="table-scroll details-rows" tabIndex={0} role="region" aria-label={list.title} data-own-arrows>
        <table class="rows list">
          <thead>
            <tr>
              <th scope="col">{list.value}</th>
              {columns.map(({ metric, name }) => (
                <th key={metric} scope="col" class="number" aria-sort={order[0] !== metric ? "none" : order[1] === "desc" ? "descending" : "ascending"}>
                  <button type="button" title={METRIC_INFO[metric].meaning} onClick={() => by(metric)}>
                    {name}{order[0] === metric && <span aria-hidden="true">{order[1] === "desc" ? " ↓" : " ↑"}</span>}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{answer && <ListRows answer={answer} />}</tbody>
        </table>
        {answer?.rows.length === 0 && <p class="nothing">{search ? `Nothing has “${search}” in it.` : list.nothing}</p>}
        {answer && answer.total > answer.rows.length && (
          <button type="button" class="button more" onClick={() => setLimit(limit + 2 * PAGE)}>Show more of {fullNumber(answer.total)}</button>
        )}
      </div>
    </Dialog>
  );
}

/** All rows, as a file. */
async function rowsOf(list: List, columns: readonly Column[], search: string, order: Order): Promise<string> {
  const request = listRequest();
  const rows: (string | number | null)[][] = [[list.value, ...columns.map(({ metric }) => metric)]];
  for (let offset = 0, total = 1; request && offset < Math.min(total, FILE_ROWS); offset += FILE_PAGE) {
    const answer = await fetchList(request, list, { columns, search, order, limit: FILE_PAGE, offset }, new AbortController().signal);
    total = answer.total;
    rows.push(...answer.rows.map(({ value, figures }) => [value, ...figures]));
  }
  return csv(rows);
}

