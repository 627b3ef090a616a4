import { clock, eventTypeName, roughly } from "../format";
import { pauseStream, resumeStream, site, stream } from "../state";
import type { StreamItem } from "../stream";
import { Pause } from "./icons";

/** An event older than this when it came is said to be late. */
const LATE_MS = 60_000;
/** Colours that tell visitors apart: `visitor-0` to `visitor-7` in the style sheet. */
const VISITOR_COLOURS = 8;

export function EventStream() {
  const { shown, paused, heldCount } = stream.value;
  const timezone = site.value?.timezone ?? "UTC";
  const byMouse = (act: () => void) => (event: PointerEvent) => event.pointerType === "mouse" && act();
  return (
    <section class="panel stream-panel" aria-labelledby="stream-title">
      <header class="panel-head">
        <h2 id="stream-title">Live events</h2>
        {paused ? (
          <span class="chip chip-on"><Pause /> Paused{heldCount > 0 && ` · ${heldCount} new`}</span>
        ) : (
          <span class="muted hint">as they arrive</span>
        )}
      </header>
      {shown.length === 0 && heldCount === 0 ? (
        <p class="nothing">The next event shows up here the moment it arrives, with what became of it.</p>
      ) : (
        <div class="stream" tabIndex={0} role="log" aria-live="off" aria-label="Live events, newest first" data-own-arrows
          onPointerEnter={byMouse(pauseStream)} onPointerLeave={byMouse(resumeStream)}
          onFocusIn={pauseStream} onFocusOut={resumeStream}>
          <ol>{shown.map((item) => <Row key={item.id} item={item} timezone={timezone} />)}</ol>
        </div>
      )}
    </section>
  );
}

function Row({ item, timezone }: { item: StreamItem; timezone: string }) {
  const late = item.received_at - item.time;
  return (
    <li class="event">
      <time dateTime={new Date(item.time).toISOString()}>{clock(item.time, timezone)}</time>
      <span class="event-what">
        <span class="event-type" title={item.name}>{item.name || eventTypeName(item.event_type)}</span>
        {item.path && <span class="event-path" title={item.path}>{item.path}</span>}
      </span>
      <span class="event-who">
        {late > LATE_MS && <span class="late" title="Came this long after it happened">{roughly(late)} late</span>}
        {item.visitor && (
          <span class="visitor" title={`Visitor ${item.visitor}`}>
            <span class={`dot visitor-${colour(item.visitor)}`} aria-hidden="true" />{item.visitor.slice(0, 4)}
          </span>
        )}
      </span>
      <Fate item={item} />
    </li>
  );
}

function Fate({ item: { fate, reason, detail } }: { item: StreamItem }) {
  const text = fate === "rejected" && reason ? reason.replaceAll("_", " ") : fate;
  const title = fate === "rejected" ? `Rejected${reason ? `: ${reason}` : ""}${detail ? ` (${detail})` : ""}`
    : fate === "duplicate" ? "Had been counted before"
    : fate === "late" ? "Came after its day was sealed" : "Counted";
  return <span class={`fate fate-${fate}`} title={title}>{fate === "rejected" && <span class="visually-hidden">Rejected: </span>}{text}</span>;
}

function colour(visitor: string): number {
  return [...visitor].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 9973, 7) % VISITOR_COLOURS;
}
