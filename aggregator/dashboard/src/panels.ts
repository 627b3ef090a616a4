/** What each panel of lists shows, and when it asks for it: only while it is in sight, and only for the list chosen. */
import { effect, signal, untracked } from "@preact/signals";
import { ApiError } from "./api";
import { Coalescer } from "./coalesce";
import { fetchList, PANELS, type List, type ListAnswer, type Panel } from "./lists";
import { includesNow } from "./period";
import { changes, screen, sessionEnded, site, today, view } from "./state";

/** Lists are read by value, so they are asked for less often than the figures above. */
const LIVE_GAP_MS = 1_000;
const PAST_GAP_MS = 5_000;
const SHORT = 9;
const LONG = 100;

export class PanelState {
  readonly list;
  readonly answer = signal<ListAnswer | undefined>(undefined);
  readonly loading = signal(true);
  /** Why the list is not up to date; empty if it is. */
  readonly error = signal("");
  readonly long = signal(false);
  readonly #inSight = signal(false);
  readonly #refresh = new Coalescer(
    (abort) => this.#load(abort),
    () => (includesNow(view.value.period, today()) ? LIVE_GAP_MS : PAST_GAP_MS),
  );

  constructor(readonly panel: Panel) {
    this.list = signal<List>(panel.lists[0]);
    let asked = "";
    effect(() => {
      const current = site.value;
      const wanted = JSON.stringify([current?.id, view.value.period, this.list.value.key, this.long.value]);
      changes.value; // and whenever figures may have changed
      if (screen.value !== "site" || !current || !this.#inSight.value) return this.#refresh.stop();
      untracked(() => {
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
    this.list.value = list;
    this.long.value = false;
  }

  retry(): void {
    this.#refresh.restart();
  }

  async #load(abort: AbortSignal): Promise<void> {
    const current = site.value;
    if (!current) return;
    try {
      const answer = await fetchList(current, view.value.period, this.list.value, this.long.value ? LONG : SHORT, abort);
      if (abort.aborted) return;
      this.answer.value = answer;
      this.error.value = "";
    } catch (error) {
      if (abort.aborted) return;
      if (error instanceof ApiError && error.status === 401) return sessionEnded();
      this.error.value = error instanceof Error ? error.message : String(error);
    }
    this.loading.value = false;
  }
}

export const panels: readonly PanelState[] = PANELS.map((panel) => new PanelState(panel));
