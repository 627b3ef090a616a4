// What a page has not delivered yet: each event by itself, as the loader stored it in `localStorage` before its call returned, from
// then until the server has answered for it. What is more than may be there, or finds it full, is in IndexedDB.
// The next page takes over what pages that are gone have left, and keeps it where it is: Web Locks tell which are gone, and that
// one page has it. Without them living pages' events are taken over, too: then both send the same events, under the same ids.

import type { Person, Setup, WireEvent } from "./event";
import { adopt } from "./person";
import { warn } from "./values";

/** Characters of events in `localStorage`, which takes two bytes for each. */
const RING = 128 << 10;
/** Events that go to IndexedDB as one. */
const SHELF = 50;
/** Between an event that has no room and its way to IndexedDB, in ms: one for all that come meanwhile. */
const SHELVE_AFTER = 500;
/** After it failed, in ms. */
const SHELVE_AGAIN = 5_000;
/** IndexedDB is waited for so long, in ms. */
const PATIENCE = 1_000;
const STORE = "left";

/** An event as the loader writes it. */
export type Left = WireEvent & Person & { id: string; age: number; consent?: string };

/** What takes over what was left. Times are by the wall clock. */
interface Heir {
  /** An event; the last one before its stream; when it happened, and until when a beacon's copy is trusted. */
  inherit(left: Left, before: string | null | undefined, at: number, heldUntil: number): void;
  /** The last event of the newest page, and until when servers asked to wait. */
  follow(last: string | null | undefined, waitUntil: number): void;
}

let database: Promise<IDBDatabase> | undefined;

/**
 * Does something in IndexedDB, and waits until it is done. A database that the page before was about to make when it went
 * may not open for as long as that page sleeps, and says nothing: what is asked of it may still be done later.
 */
const shelf = <Result>(call: (store: IDBObjectStore) => IDBRequest<Result>) =>
  new Promise<Result>((resolve, reject) => {
    setTimeout(reject, PATIENCE, "IndexedDB does not answer");
    database ??= new Promise((resolve, reject) => {
      const opening = indexedDB.open("wakeline");
      opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
      opening.onsuccess = () => {
        const { result } = opening;
        // Consent was withdrawn, here or in another tab: whoever goes on makes it anew.
        result.onversionchange = () => {
          result.close();
          database = undefined;
        };
        resolve(result);
      };
      opening.onerror = reject;
    });
    database.then((db) => {
      const transaction = db.transaction(STORE, "readwrite");
      const request = call(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = reject;
    }).catch(reject);
  });

const read = (name: string) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};

/** When something was stored, and what: nothing, if it is damaged. */
export const parse = <Rest extends unknown[]>(text: string | null) => {
  try {
    return JSON.parse(`[${text ?? ""}]`) as [at: number, ...Rest];
  } catch {
    return [0] as unknown as [at: number, ...Rest];
  }
};

/** Takes over what belongs to a page, unless that lives; `held` gets what gives it back. */
export const claim = (name: string, ifAvailable: boolean, held: (release: () => void) => void) =>
  new Promise<boolean>((claimed) => {
    const locks = navigator.locks as LockManager | undefined;
    if (!locks) return claimed(true);
    locks
      .request(name, { ifAvailable }, (lock) => {
        claimed(!!lock);
        return lock && new Promise<void>(held);
      })
      .catch(() => claimed(true));
  });

/** Ends a task: a page's own come first. */
export const pause = () => new Promise((resume) => setTimeout(resume));

export const openJournal = (setup: Setup) => {
  const { prefix, stream } = setup;
  const own = prefix + stream;
  /** The characters of what is in `localStorage`, the oldest first; of what found no room there, the text. */
  const stored = new Map<string, number | string>();
  /** What is in IndexedDB stays there until all is answered for that is there as one. */
  const shelved = new Map<string, { name: string; left: Set<string> }>();
  let room = RING;
  let before: string | null | undefined;
  /** Set from when there is something to put in IndexedDB until that is done. */
  let timer: ReturnType<typeof setTimeout> | undefined;
  let shelving = false;
  let releases: (() => void)[] = [];
  const hold = (name: string, ifAvailable: boolean) => claim(name, ifAvailable, (release) => releases.push(release));

  const remove = (id: string) => {
    const size = stored.get(id);
    stored.delete(id);
    if (+size! > 0) {
      room += size as number;
      localStorage.removeItem(prefix + id);
    }
  };

  const backlog = () => room < 0 || shelved.size > 0;

  /** One at a time: two would put the same events, and the later one take them away as settled meanwhile. */
  const shelve = async () => {
    if (shelving) return; // it takes what has come since, too
    clearTimeout(timer);
    shelving = true;
    try {
      for (;;) {
        // A backlog goes there whole, and what comes after it: `localStorage` is written to disk seldom where it is changed a lot.
        const all = backlog();
        const ids = [...stored.keys()].filter((id) => all || typeof stored.get(id) == "string").slice(0, SHELF);
        if (!ids[0]) break;
        const texts = ids.map((id) => (+stored.get(id)! > 0 ? read(prefix + id) : stored.get(id)));
        const name = prefix + ids[0];
        await shelf((store) => store.put([`${setup.person.visitor}.${setup.day}`, ...texts], name));
        const of = { name, left: new Set(ids.filter((id) => stored.has(id))) };
        for (const id of of.left) {
          remove(id);
          shelved.set(id, of);
        }
        if (!of.left.size) await shelf((store) => store.delete(name));
      }
      timer = undefined;
    } catch (error) {
      warn("can't store events, which are lost if the page goes before they are sent", error);
      timer = setTimeout(shelve, SHELVE_AGAIN);
    }
    shelving = false;
  };

  const add = (id: string, size: number | string) => {
    stored.set(id, size);
    if (+size > 0) room -= size as number;
    if (backlog() || typeof size == "string") timer ??= setTimeout(shelve, SHELVE_AFTER);
  };

  hold(own, false);
  return {
    /** The client has this event, which the loader stored, if it could. */
    take(id: string, text: () => string) {
      add(id, read(prefix + id)?.length ?? `${Date.now()},${text()}`);
    },

    /** The server has answered for these, or they are given up. */
    settle(ids: string[]) {
      for (const id of ids) {
        remove(id);
        const of = shelved.get(id);
        shelved.delete(id);
        if (of?.left.delete(id) && !of.left.size) shelf((store) => store.delete(of.name)).catch(() => {});
      }
    },

    /**
     * Says what the next page is to know: the last number given here, until when the server asked to wait, and until when
     * beacons that have a copy of everything are trusted.
     */
    say(seq: number, waitUntil: number, heldUntil: number) {
      const last = seq < 0 ? before : `${stream}.${seq}`;
      try {
        localStorage.setItem(own, JSON.stringify([Date.now(), last, waitUntil, heldUntil, before]).slice(1, -1));
      } catch {
        // No room: the next page knows what the events say.
      }
    },

    /** Hands over what pages that are gone have left. */
    async inherit(heir: Heir) {
      const shelves = (await shelf((store) => store.getAllKeys()).catch(() => [])) as string[];
      const pages: Record<string, string[]> = {};
      for (const name of new Set([...shelves, ...Object.keys(localStorage)])) {
        const of = name.slice(prefix.length).split(".")[0]!;
        if (name.startsWith(prefix) && of != stream) (pages[of] ??= []).push(name);
      }
      let newest = 0;
      let wait = 0;
      for (const of in pages) {
        if (!(await hold(prefix + of, true))) continue;
        // What was there may have been settled since.
        let [time = 0, last, waitUntil, heldUntil, older] = parse<[(string | null)?, number?, number?, (string | null)?]>(read(prefix + of));
        const adopted = (text: string | null) => {
          const [at, left] = parse<[Left]>(text);
          try {
            heir.inherit(left, older, at - left.age, heldUntil ?? 0);
            if (at >= time) [time, last] = [at, left.id];
            return left.id;
          } catch {
            return; // damaged, or gone
          }
        };
        for (const name of pages[of]!) {
          const text = name == prefix + of ? null : read(name);
          if (adopted(text)) add(name.slice(prefix.length), text!.length);
          else localStorage.removeItem(name);
          if (!shelves.includes(name)) continue;
          const [install, ...texts] = (await shelf<string[] | undefined>((store) => store.get(name)).catch(() => {})) ?? [];
          // A browser that was killed had not written the install id, but this.
          if (install && setup.fresh) adopt(setup, install);
          const ids = { name, left: new Set(texts.map(adopted).filter(Boolean) as string[]) };
          for (const id of ids.left) shelved.set(id, ids);
          await pause();
        }
        wait = Math.max(wait, waitUntil ?? 0);
        if (time > newest) [newest, before] = [time, last];
      }
      heir.follow(before, wait);
    },

    /** The page sleeps or goes: others may have what it stored. A lock would also keep it out of the bfcache. */
    release() {
      if (timer) void shelve();
      for (const release of releases) release();
      releases = [];
    },

    /** The page is back. */
    back() {
      hold(own, false);
    },

    /** Consent is withdrawn: nothing is kept. */
    stop() {
      clearTimeout(timer);
      stored.clear();
      for (const release of releases) release();
    },
  };
};
