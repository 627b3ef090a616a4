import { useCallback, useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { dayName } from "../../calendar";
import { localStamp } from "../../format";
import { embedCode, originsFrom, urlOf } from "../../sharing";
import { site } from "../../state";

/** A site's public links: who has one reads its reports, and nothing else. Loaded when somebody looks at it. */
export default function SharingPage() {
  const current = site.value;
  return current ? <OfSite key={current.id} site={current} /> : null;
}

function OfSite({ site: current }: { readonly site: api.Site }) {
  const [links, setLinks] = useState<readonly api.Link[]>();
  const [said, setSaid] = useState("");
  const fail = (error: unknown) => setSaid(error instanceof Error ? error.message : String(error));
  const load = useCallback(async () => {
    try {
      setLinks(await api.links(current.id));
    } catch (error) {
      fail(error);
    }
  }, [current.id]);
  useEffect(() => void load(), [load]);
  const act = async (work: () => Promise<string>) => {
    try {
      const done = await work();
      await load();
      setSaid(done);
    } catch (error) {
      fail(error);
    }
  };
  return (
    <>
      <div class="toolbar"><h1>Sharing</h1></div>
      <p class="muted">Whoever has a public link sees the reports of {current.domain}, without signing in: figures, lists, filters. No single events, no other page, and nothing can be changed.</p>
      <p class="rules-said" role="status">{said}</p>
      <NewLink make={(name, embed) => act(async () => {
        await api.createLink(current.id, name, originsFrom(embed));
        return `“${name}” is made.`;
      })} />
      <section class="panel" aria-labelledby="links-title">
        <header class="panel-head"><h2 id="links-title">Public links</h2></header>
        {!links ? <div class="panel-fill skeleton" role="status" aria-label="Loading" />
          : links.length === 0 ? <p class="nothing">There is none.</p> : (
            <ul class="links">
              {links.map((link) => (
                <li key={link.id}>
                  <div class="link-head">
                    <strong>{link.name}</strong>
                    <span class="muted">since {dayName(localStamp(link.created_at, current.timezone).slice(0, 10))}</span>
                    <button type="button" class="button" aria-label={`Revoke ${link.name}`} onClick={() => void act(async () => {
                      await api.deleteLink(current.id, link.id);
                      return `“${link.name}” does not work any more.`;
                    })}>Revoke</button>
                  </div>
                  <a class="link-url" href={urlOf(link)} target="_blank" rel="noreferrer">{urlOf(link)}</a>
                  {link.embed.length > 0 && (
                    <details>
                      <summary>To embed it on {link.embed.join(", ")}</summary>
                      <pre tabIndex={0}><code>{embedCode(link)}</code></pre>
                    </details>
                  )}
                </li>
              ))}
            </ul>
          )}
      </section>
    </>
  );
}

function NewLink({ make }: { readonly make: (name: string, embed: string) => Promise<void> }) {
  const [name, setName] = useState("");
  const [embed, setEmbed] = useState("");
  return (
    <form class="panel goal-form" onSubmit={(event) => {
      event.preventDefault();
      void make(name.trim(), embed).then(() => {
        setName("");
        setEmbed("");
      });
    }}>
      <div class="field">
        <label for="link-name">Name</label>
        <input id="link-name" required maxLength={120} value={name} placeholder="For the board" onInput={(event) => setName(event.currentTarget.value)} />
      </div>
      <div class="field">
        <label for="link-embed">Pages that may embed it</label>
        <input id="link-embed" value={embed} placeholder="https://intranet.example" aria-describedby="link-hint" onInput={(event) => setEmbed(event.currentTarget.value)} />
        <p class="muted" id="link-hint">Origins, with spaces between; leave it empty for a link only</p>
      </div>
      <button type="submit" class="button primary">Make link</button>
    </form>
  );
}
