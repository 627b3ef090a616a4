// Which of a visitor's tabs events are of: their property `tab.id`. It is in the tab's own storage, and so outlives its pages, but a
// page takes it out while it lives: a tab that is made as a copy of another, storage and all, finds none, and is one of its own.

import type { Setup } from "./event";

const NAME = "wakeline_tab";
const PROPERTY = "tab.id";

/** Names the tab in what waits and in what comes. */
export const start = (setup: Setup) => {
  // A tab is called by the stream of its first page.
  const id = sessionStorage.getItem(NAME) || setup.stream.slice(0, 8);
  const take = () => sessionStorage.removeItem(NAME);
  const leave = () => {
    if (setup.allowed()) sessionStorage.setItem(NAME, id);
  };
  take();
  // A browser that needs the room of a hidden page freezes it, and may end it without a further word.
  for (const type of ["pagehide", "freeze"]) addEventListener(type, setup.safely(leave), true);
  for (const type of ["pageshow", "resume"]) addEventListener(type, setup.safely(take), true);

  for (const [, , event] of setup.queue) (event.properties ?? {})[PROPERTY] ??= id; // a plugin may have left none
  setup.keep();
  setup.client.use((event) => {
    event.properties[PROPERTY] = id;
    return event;
  });
};
