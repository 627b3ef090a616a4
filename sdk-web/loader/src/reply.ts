// What a batch's reply says, for those who want to know more than that the server has it all.

import { warn } from "./values";

/** The fields of a protobuf message that are texts or messages themselves. */
export const fields = (message: Uint8Array) => {
  const found: [field: number, bytes: Uint8Array][] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1; at < message.length; shift *= 128) {
      const byte = message[at++]!;
      value += (byte & 127) * shift;
      if (byte < 128) break;
    }
    return value;
  };
  while (at < message.length) {
    const key = varint();
    if (key % 8 == 0) varint();
    else if (key % 8 == 2) {
      const length = varint();
      found.push([key >> 3, message.subarray(at, at + length)]);
      at += length;
    } else break;
  }
  return found;
};

/** The text of a message's field, if there is one. */
export const textOf = (message: Uint8Array, field: number) => {
  const found = fields(message).find(([number]) => number == field);
  return found && new TextDecoder().decode(found[1]);
};

/** The settings of a batch's reply, if there are any. */
export const settingsOf = (reply: Uint8Array) => textOf(reply, 3);

/** An event's id, and its fate as the client says it: 0 the server has it, 1 it refused it, more: the client gave it up. */
export type Fate = readonly [id: string, fate: number];

const NAMES = ["accepted", "rejected", "queue_events", "queue_bytes", "queue_age", "unreadable", "batch_too_large"];

/** The fates by their names; refusals by the reasons in the reply, which come in the same order. */
export const named = (fates: readonly Fate[], reply: Uint8Array) => {
  const refusals = fields(reply).filter(([field]) => field == 2);
  const name = (fate: number) => {
    const refusal = fate == 1 && refusals.shift()?.[1];
    return (refusal && textOf(refusal, 2)) || NAMES[fate]!;
  };
  return fates.map(([id, fate]) => [id, name(fate)] as const);
};

/** Says which events were lost, and why. */
export const say = (fates: readonly Fate[], reply: Uint8Array) => {
  warn("events were lost", named(fates, reply).filter(([, name]) => name != NAMES[0]));
};
