// Makes events fit the limits that a server checks, by bytes: what only needs to be cut is no reason to refuse.

import type { Entry, WireEvent, WireOrder, WireValue } from "./event";
import { warn } from "./values";

const MAX_TEXT = 4_096;
const MAX_NAME = 128;
const MAX_PROPERTIES = 128;

const utf8 = new TextEncoder();
const room = new Uint8Array(MAX_TEXT);

/** As much of a text as has at most so many bytes. */
const cut = (text: string, most: number) => text.slice(0, utf8.encodeInto(text, room.subarray(0, most)).read);

const whole = (amount: unknown) => Number.isSafeInteger(amount);

const sound = ({ value, items }: WireOrder) =>
  whole(value) && items.every(({ price, quantity }) => whole(price) && whole(quantity) && quantity >= 0);

/** What a plugin may have made of a property is looked at, too. */
const sendable = (value: unknown) =>
  typeof value == "string" ||
  typeof value == "boolean" ||
  Number.isFinite(value) ||
  isFinite(Date.parse((value as { timestamp?: string } | null)?.timestamp ?? ""));

/** The entry, or in its place one that only counts the reason for which it is refused. */
export const fit = ([seq, at, event, person]: Entry): Entry => {
  if (typeof event.type != "string" || !event.properties) {
    warn("refused: a plugin's", event);
    event = { type: "refused", properties: {} };
  }
  const properties: Record<string, WireValue> = {};
  let left = MAX_PROPERTIES;
  for (const [name, value] of Object.entries(event.properties)) {
    if (!name || cut(name, MAX_NAME) != name) warn("property left out: its name is empty or over 128 bytes", name);
    else if (!sendable(value)) warn("property left out: a plugin's", name);
    else if (left-- < 1) warn("properties left out: an event has at most 128", event);
    else properties[name] = typeof value == "string" ? cut(value, MAX_TEXT) : value;
  }
  let fitting: WireEvent = { ...event, properties };
  if (event.order && !sound(event.order)) {
    warn("order refused: amounts are whole numbers of minor units", event);
    fitting = { type: "refused", name: "invalid_money", properties: {} };
  }
  // What a page threw is no reason's name.
  if (event.type == "refused" && !/^[a-z_]+$/.test(event.name ?? "")) fitting.name = "malformed";
  return [seq, at, fitting, person];
};
