/** What all figures are under: a pill for each filter, saved segments, and what they are compared with. */
import { COMPARISON_NAMES, COMPARISONS, type Comparison } from "../compare";
import { SEGMENT } from "../dimensions";
import { filterWords, isChosen } from "../filters";
import { chooseComparison, clearFilters, putFilter, toggleFilter } from "../navigate";
import { days } from "../period";
import { filterOpen, isPublic, segments, segmentsOpen, today, view } from "../state";
import { Bookmark, Close, Compare, FilterIcon } from "./icons";
import { Menu, type Choice } from "./menu";

export const segmentName = (id: string): string => segments.value.find((each) => String(each.id) === id)?.name ?? `Segment ${id}`;

export function FilterButton() {
  return (
    <button type="button" class="button" title="Filter (/)" onClick={() => (filterOpen.value = -1)}>
      <FilterIcon /> <span class="button-name">Filter</span>
    </button>
  );
}

const MANAGE = "manage";

export function SegmentsMenu() {
  const { filters } = view.value;
  if (isPublic) return null;
  if (segments.value.length === 0 && filters.length === 0) return null;
  const saved = segments.value.map((each): Choice<string> => ({ value: String(each.id), name: each.name, checked: isChosen(filters, SEGMENT, String(each.id)) }));
  const manage: Choice<string> = { value: MANAGE, name: filters.length > 0 ? "Save these filters…" : "Manage segments…", group: 1 };
  return (
    <Menu label="Segments" chosen="" align="end" choices={[...saved, manage]}
      choose={(id) => (id === MANAGE ? (segmentsOpen.value = true) : toggleFilter(SEGMENT, id, false))}>
      <Bookmark /> <span class="button-name">Segments</span>
    </Menu>
  );
}

const WEEKDAYS = "weekdays";

export function ComparisonMenu() {
  const { compare, weekdays, period } = view.value;
  if (!days(period, today()) && period.key !== "24h") return null;
  const choices: Choice<string>[] = [
    { value: "", name: "No comparison", shortcut: "X" },
    ...COMPARISONS.map((each): Choice<string> => ({ value: each, name: COMPARISON_NAMES[each], group: 1 })),
    ...(compare ? [{ value: WEEKDAYS, name: "Match days of the week", group: 2, checked: weekdays }] : []),
  ];
  const against = compare && `vs. ${COMPARISON_NAMES[compare].toLowerCase()}`;
  const choose = (choice: string) => (choice === WEEKDAYS ? chooseComparison(compare, !weekdays) : chooseComparison(choice as Comparison | ""));
  return (
    <Menu label={compare ? `Compare: ${against}` : "Compare"} align="end" chosen={compare} choose={choose} choices={choices}>
      <Compare /> <span class="button-name">{compare ? against : "Compare"}</span>
    </Menu>
  );
}

export function Pills() {
  const { filters } = view.value;
  if (filters.length === 0) return null;
  return (
    <div class="pills" role="group" aria-label="Filters">
      {filters.map((filter, at) => {
        const { what, how, values } = filterWords(filter, segmentName);
        const text = `${what} ${how} ${values}`;
        return (
          <span class="pill" key={JSON.stringify(filter)}>
            <button type="button" class="pill-text" title={`Edit: ${text}`} onClick={() => (filterOpen.value = at)}>
              {what} <span class="muted">{how}</span> <strong>{values}</strong>
            </button>
            <button type="button" class="pill-remove" aria-label={`Remove filter: ${text}`} onClick={() => putFilter(at, undefined)}><Close /></button>
          </span>
        );
      })}
      <button type="button" class="button quiet" title="Clear all filters (Esc)" onClick={clearFilters}>Clear all</button>
    </div>
  );
}
