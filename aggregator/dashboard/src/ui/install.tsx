/** What to do while there is nothing to show. */
import { useEffect, useState } from "preact/hooks";
import { keys, session, type Site } from "../api";
import { eventTypeName, roughly } from "../format";
import { firstEvent, leave, signInError, stream } from "../state";
import { Copy, Mark } from "./icons";

export function NoSites() {
  return (
    <main class="gate">
      <div class="gate-card">
        <Mark />
        <h1>No site yet</h1>
        <p class="muted">Create the first one where the aggregator runs, then reload this page:</p>
        <Snippet text="wakeline-aggregator site create --domain example.com --timezone Europe/Berlin" />
        <div class="gate-actions">
          <button type="button" class="button primary" onClick={() => location.reload()}>Reload</button>
          <button type="button" class="button" onClick={() => void leave()}>Sign out</button>
        </div>
      </div>
    </main>
  );
}

/** Shown to who has a public link that was revoked, or never was, or can't be asked for. */
export function NoLink() {
  const error = signInError.value;
  return (
    <main class="gate">
      <div class="gate-card">
        <Mark />
        <h1>{error ? "The report can’t be shown" : "This link does not work any more"}</h1>
        <p class="muted">{error || "It was revoked, or is not complete. Ask whoever gave it to you for another one."}</p>
      </div>
    </main>
  );
}

/** Shown until the site's first event arrives. */
export function Install({ site }: { site: Site }) {
  const [key, setKey] = useState("KEY");
  useEffect(() => {
    keys(site.id).then(
      (all) => setKey(all.find(({ kind }) => kind === "write")?.key ?? "KEY"),
      () => setKey("KEY"), // the steps hold without it
    );
  }, [site.id]);
  // The collector's usual port, until the server says better; where it runs elsewhere the text below says what to change.
  const [collector, setCollector] = useState(`${location.protocol}//${location.hostname}:8080`);
  useEffect(() => {
    session().then(
      ({ collector_url }) => collector_url && setCollector(collector_url),
      () => undefined, // the guess stays
    );
  }, []);
  const refused = stream.value.shown.find(({ fate }) => fate === "rejected");
  return (
    <section class="panel install" aria-labelledby="install-title">
      <p class="install-wait" role="status">
        <span class="pulse" aria-hidden="true" />
        {refused
          ? `We hear you, but an event was refused: ${refused.reason ?? "rejected"}${refused.detail ? ` (${refused.detail})` : ""}`
          : "Listening for the first event"}
      </p>
      <h1 id="install-title">Add Wakeline to {site.domain}</h1>
      <ol>
        <li>
          Put this line into the <code>&lt;head&gt;</code> of every page:
          <Snippet text={`<script defer src="${collector}/w/sdk/wakeline.js" data-key="${key}"></script>`} />
          <span class="muted">If your collector is not at <code>{collector}</code>, write its address there.</span>
        </li>
        <li>Open a page of the site. It shows up here within a second; nothing needs to be reloaded.</li>
      </ol>
    </section>
  );
}

/** Says that the site's first event is there, to whom waited for it. */
export function FirstEvent() {
  const event = firstEvent.value;
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!event) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [event]);
  if (!event) return null;
  return (
    <div class="banner" role="status">
      <p>
        <strong>We see you.</strong> First event {roughly(Math.max(1000, now - event.received_at))} ago:{" "}
        {event.name || eventTypeName(event.event_type)} {event.path}
      </p>
      <button type="button" class="button" onClick={() => (firstEvent.value = undefined)}>Close</button>
    </div>
  );
}

function Snippet({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => navigator.clipboard?.writeText(text).then(() => setCopied(true), () => setCopied(false));
  return (
    <div class="snippet">
      <pre tabIndex={0}><code>{text}</code></pre>
      {/* Browsers give the clipboard to secure pages only. */}
      {navigator.clipboard && (
        <button type="button" class="button" onClick={() => void copy()}>
          <Copy /> <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
        </button>
      )}
    </div>
  );
}
