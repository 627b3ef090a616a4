// What Wakeline does on this page, shown on it: for people who put it in, with `?wakeline_debug`.

import type { Setup, WireEvent } from "./event";
import { type Fate, named } from "./reply";

const MAX_LINES = 50;

const STYLE = `
:host { all: initial; position: fixed; inset: auto 12px 12px auto; z-index: 2147483647; }
section { width: 340px; max-height: 50vh; display: flex; flex-direction: column; overflow: hidden; border-radius: 10px;
  background: #14211d; color: #e8f1ed; font: 12px/1.5 ui-monospace, monospace; box-shadow: 0 6px 24px #0006; }
header { display: flex; gap: 8px; padding: 8px 12px; background: #1d3029; font-weight: 600; }
header span { flex: 1; }
button { all: unset; cursor: pointer; padding: 0 4px; }
button:focus-visible { outline: 2px solid #7fd1ae; }
dl { display: grid; grid-template-columns: repeat(4, 1fr); margin: 0; padding: 8px 12px; }
dt { grid-row: 1; color: #9db8ac; } dd { margin: 0; font-size: 16px; }
ol { margin: 0; padding: 0 12px 8px; overflow: auto; list-style: none; }
li { display: flex; gap: 8px; } li span { flex: 1; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.accepted { color: #7fd1ae; } .refused { color: #ff9b85; } .waiting { color: #f0d48a; }
`;

export const start = (setup: Setup) => {
  const host = document.createElement("wakeline-debug");
  const shadow = host.attachShadow({ mode: "open" });
  // No style element: a strict policy would refuse it.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  shadow.adoptedStyleSheets = [sheet];

  const make = <K extends keyof HTMLElementTagNameMap>(tag: K, parent: Node, text = "", className = "") => {
    const element = document.createElement(tag);
    element.textContent = text;
    element.className = className;
    parent.appendChild(element);
    return element;
  };
  const panel = make("section", shadow);
  panel.setAttribute("aria-label", "Wakeline on this page");
  const header = make("header", panel);
  make("span", header, "Wakeline");
  const send = make("button", header, "send now");
  const close = make("button", header, "✕");
  close.setAttribute("aria-label", "Close");
  const figures = make("dl", panel);
  const list = make("ol", panel);

  const counts = { waiting: 0, batches: 0, accepted: 0, refused: 0 };
  const shown = Object.fromEntries(
    Object.keys(counts).map((name) => {
      make("dt", figures, name);
      return [name, make("dd", figures, "0")];
    }),
  );
  const fates = new Map<number, HTMLElement>();
  const draw = () => {
    for (const [name, count] of Object.entries(counts)) shown[name]!.textContent = `${count}`;
  };
  const line = (text: string, fate: string, className: string) => {
    const item = document.createElement("li");
    make("span", item, text).title = text;
    const state = make("b", item, fate, className);
    list.prepend(item);
    if (list.children.length > MAX_LINES) list.lastChild?.remove();
    return state;
  };
  const settle = (seq: number, fate: string) => {
    const state = fates.get(seq);
    if (!state) return;
    fates.delete(seq);
    state.textContent = fate;
    state.className = fate == "accepted" ? fate : "refused";
    counts.waiting--;
    if (fate == "accepted") counts.accepted++;
    else counts.refused++;
  };

  const heard = (first: unknown, second?: unknown, third?: unknown) => {
    if (typeof first == "number") {
      const { type, name, properties } = second as WireEvent;
      const details = Object.keys(properties).length ? ` ${JSON.stringify(properties)}` : "";
      fates.set(first, line(`${first} ${name || type}${details}`, "waiting", "waiting"));
      counts.waiting++;
    } else if (first == "fates") {
      for (const [id, fate] of named(second as Fate[], third as Uint8Array)) {
        const [stream, seq] = id.split(".");
        if (stream == setup.stream) settle(+seq!, fate);
      }
    } else if (first == "reply") {
      counts.batches++;
      if (second != 202) line(second ? `batch: HTTP ${second}` : "batch: no answer", "again later", "refused");

    } else line([first, second].map((part) => (typeof part == "string" ? part : JSON.stringify(part))).join(" "), "", "");
    draw();
  };
  const { log } = setup;
  setup.log = (...what) => {
    log(...what);
    setup.safely(() => heard(what[0], what[1], what[2]))();
  };
  for (const [seq, , event] of setup.queue) heard(seq, event);

  send.addEventListener("click", () => setup.client.flush());
  close.addEventListener("click", () => host.remove());
  document.documentElement.appendChild(host);
};
