// What a page has not delivered yet, by its stream: what the client took, of which until then the loader has a copy
// each. The newest events are in `localStorage`; a page that has more than fit there, or finds it full, keeps all of them in IndexedDB as well. The next page
// takes over what pages that are gone have left, which Web Locks tell where there are any. Without them entries of
// living pages are taken over, too: then both send the same events, under the same ids.

import { warn } from "./values";

/** Bytes of events in `localStorage`, which takes two for each. */
const RING = 128 << 10;
/** Between an event and its copy in IndexedDB, in ms: one for all that come meanwhile. */
const SHELVE_AFTER = 500;
/** IndexedDB is waited for so long, in ms. */
const PATIENCE = 1_000;
const STORE = "left";

export interface Journal {
  /** Gives what pages that are gone have left, the newest first; removes it once this page has stored it. */
  inherit(adopt: (snapshot: string) => void): Promise<void>;
  /** Stores what is there now. */
  store(): void;
  /** The page sleeps or goes: others may have what it stored. A lock would also keep it out of the bfcache. */
  release(): void;
  /** The page is back. */
  hold(): void;
  /** Consent is withdrawn: nothing is kept. */
  stop(): void;
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
      opening.onsuccess = () => resolve(opening.result);
      opening.onerror = reject;
    });
    database.then((db) => {
      const transaction = db.transaction(STORE, "readwrite");
      const request = call(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = reject;
    }).catch(reject);
  });

/** Does something with what a page left, unless that page lives, as Web Locks tell. */
export const ifGone = async (key: string, stream: string, call: () => Promise<void>) => {
  const locks = navigator.locks as LockManager | undefined;
  await (locks ? locks.request(`wakeline.${key}.${stream}`, { ifAvailable: true }, (lock) => lock && call()) : call());
};

/** `snapshot` gives the newest events of so many bytes (−1: all), and whether these are all. */
export const openJournal = (
  key: string,
  stream: string,
  snapshot: (maxBytes: number) => [text: string, whole: boolean],
): Journal => {
  const prefix = `wakeline.${key}.`;
  const own = prefix + stream;
  const locks = navigator.locks as LockManager | undefined;
  let release = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let shelved = false;

  const entry = (text: string) => `${Date.now()} ${text}`;
  const shelve = async () => {
    clearTimeout(timer);
    timer = undefined;
    shelved = true;
    try {
      await shelf((store) => store.put(entry(snapshot(-1)[0]), own));
      return true;
    } catch (error) {
      warn("can't store events, which are lost if the page goes before they are sent", error);
      return false;
    }
  };
  /** Whether it is in `localStorage`. */
  const write = () => {
    let [text, whole] = snapshot(RING);
    try {
      localStorage.setItem(own, entry(text));
    } catch {
      whole = false;
    }
    return whole;
  };

  const journal: Journal = {
    async inherit(adopt) {
      const onShelf = (await shelf((store) => store.getAllKeys()).catch(() => [])) as string[];
      try {
        const left = [...new Set([...Object.keys(localStorage), ...onShelf])]
          .filter((name) => name.startsWith(prefix) && name != own)
          .map((name) => [name, localStorage.getItem(name) ?? ""] as const)
          .sort((a, b) => (parseInt(b[1]) || 0) - (parseInt(a[1]) || 0));
        for (const [name, value] of left) {
          const take = async () => {
            const older = onShelf.includes(name) && (await shelf<string>((store) => store.get(name)));
            for (const text of [value, older]) if (text) adopt(text.slice(text.indexOf(" ") + 1));
            if (!write() && !(await shelve())) return;
            // A page that lives after all may have written since.
            if (localStorage.getItem(name) == value) localStorage.removeItem(name);
            if (older) await shelf((store) => store.delete(name));
          };
          await ifGone(key, name.slice(prefix.length), take);
        }
      } catch {
        // Nothing can be stored here, so nothing was left.
      }
    },
    store() {
      if (!write()) timer ??= setTimeout(shelve, SHELVE_AFTER);
      else if (shelved) {
        shelved = false;
        clearTimeout(timer);
        timer = undefined;
        shelf((store) => store.delete(own)).catch(() => {});
      }
    },
    release() {
      if (timer) void shelve();
      release();
    },
    stop() {
      clearTimeout(timer);
      timer = undefined;
      shelf((store) => store.clear()).catch(() => {});
      release();
    },
    hold() {
      locks?.request(own, () => new Promise<void>((resolve) => (release = resolve))).catch(() => {});
    },
  };
  journal.hold();
  return journal;
};
