/** The list of events as they arrive: newest first, bounded, and standing still while somebody reads it. */
import type { LiveEvent } from "./live";

export const MAX_EVENTS = 100;

export interface StreamItem extends LiveEvent {
  /** Order of arrival on this page; identifies the row. */
  readonly id: number;
}

export interface Stream {
  readonly shown: readonly StreamItem[];
  /** Arrived while paused, newest first. */
  readonly held: readonly StreamItem[];
  /** How many arrived while paused; more than `held` has when that is full. */
  readonly heldCount: number;
  readonly paused: boolean;
}

export const EMPTY_STREAM: Stream = { shown: [], held: [], heldCount: 0, paused: false };

/** Adds what arrived, oldest first. */
export function arrive(stream: Stream, items: readonly StreamItem[]): Stream {
  const newest = [...items].reverse();
  if (stream.paused) {
    return { ...stream, held: [...newest, ...stream.held].slice(0, MAX_EVENTS), heldCount: stream.heldCount + items.length };
  }
  return { ...stream, shown: [...newest, ...stream.shown].slice(0, MAX_EVENTS) };
}

export function pause(stream: Stream): Stream {
  return stream.paused ? stream : { ...stream, paused: true };
}

/** Shows what was held back. */
export function resume(stream: Stream): Stream {
  if (!stream.paused) return stream;
  return { shown: [...stream.held, ...stream.shown].slice(0, MAX_EVENTS), held: [], heldCount: 0, paused: false };
}
