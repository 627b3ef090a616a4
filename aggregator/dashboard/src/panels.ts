/** What each panel of lists shows, and when it asks for it: only while it is in sight, and only for the list chosen. */
import { computed, effect, signal, untracked } from "@preact/signals";
import { ApiError } from "./api";
import { Coalescer } from "./coalesce";
import { fetchList, listUnder, PANELS, type List, type ListAnswer, type ListRequest, type Panel } from "./lists";
import { includesNow } from "./period";
import { chooseList } from "./navigate";
import { changes, screen, sessionEnded, site, today, view } from "./state";

/** Lists are read by value, so they are asked for less often than the figures above. */
const LIVE_GAP_MS = 1_000;
const PAST_GAP_MS = 5_000;
/** Answers that take long are read from events: a dashboard must not keep the server busy with nothing else. */
const REST = 4;
const ROWS = 9;

/** What lists are asked of, at this moment. */
export function listRequest(): ListRequest | undefined {
  const current = site.value;
  const { period, filters, compare, weekdays, property } = view.value;
  return current && { site: current, period, filters, compare, weekdays, property };
}

export class PanelState {
  readonly list;
  readonly answer = signal<ListAnswer | undefined>(undefined);
  readonly loading = signal(false);
  /** Why the list is not up to date; empty if it is. */
  readonly error = signal("");
  readonly #inSight = signal(false);
  #took = 0;
  readonly #refresh = new Coalescer(
    (abort) => this.#load(abort),
    () => Math.max(includesNow(view.value.period, today()) ? LIVE_GAP_MS : PAST_GAP_MS, REST * this.#took),
  );

  constructor(readonly panel: Panel) {
    this.list = computed<List>(() => {
      const chosen = panel.lists.find(({ key }) => key === view.value.lists[panel.key]) ?? panel.lists[0];
      return listUnder(chosen, view.value.filters, view.value.property);
    });
    let asked = "";
    /** The last change that was asked for, −1 after what was under way was given up. */
    let upTo = -1;
    effect(() => {
      const request = listRequest();
      const wanted = JSON.stringify([request, this.list.value.key]);
      const now = changes.value; // figures may have changed
      if (screen.value !== "site" || !request || !this.#inSight.value || !this.list.value.dimension) {
        upTo = -1;
        this.loading.value = false;
        return this.#refresh.stop();
      }
      untracked(() => {
        if (wanted === asked && now === upTo) return;
        upTo = now;
        if (wanted === asked) return this.#refresh.request();
        asked = wanted;
        this.loading.value = true;
        this.#refresh.restart();
      });
    });
  }

  /** Whether the panel can be seen, or soon. */
  see(inSight: boolean): void {
    this.#inSight.value = inSight;
  }

  choose(list: List): void {
    chooseList(this.panel.key, list.key === this.panel.lists[0].key ? "" : list.key);
  }

  retry(): void {
    this.#refresh.restart();
  }

  async #load(abort: AbortSignal): Promise<void> {
    const request = listRequest();
    const list = this.list.value;
    if (!request || !list.dimension) return;
    const began = performance.now();
    try {
      const answer = await fetchList(request, list, ROWS, abort);
      if (abort.aborted) return;
      this.answer.value = answer;
      this.error.value = "";
    } catch (error) {
      if (abort.aborted) return;
      if (error instanceof ApiError && error.status === 401) return sessionEnded();
      this.error.value = error instanceof Error ? error.message : String(error);
    }
    this.#took = performance.now() - began;
    this.loading.value = false;
  }
}

export const panels: readonly PanelState[] = PANELS.map((panel) => new PanelState(panel));
