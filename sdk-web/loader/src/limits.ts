// Limits of the loader, by themselves: so their values stand where their names do, which is shorter.

/** Events of a beacon. All that outlives a page may have 64 KiB: what is over it waits for the next page. */
export const BEACON = 25;
/** Events that wait here at most. */
export const MAX_QUEUE = 10_000;
/** Characters of a URL; of a longer one the event would be refused. */
export const MAX_URL = 2_000;
/** Characters of a user's id; all events of one with a longer id would be refused. */
export const MAX_ID = 128;
/** When the main module is loaded at the latest, and again if that failed, in ms. */
export const LOAD_AFTER = 1_000;
export const LOAD_AGAIN = 10_000;
