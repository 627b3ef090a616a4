// What a page has not delivered yet, in `localStorage`: one entry for each page, by its stream. The next page takes
// over the entries of pages that are gone, which Web Locks tell where there are any. Without them entries of living
// pages are taken over, too: then both send the same events, under the same ids.

export interface Journal {
  /** Gives what pages that are gone have left, the newest first; removes it if `adopt` says that it has it. */
  inherit(adopt: (snapshot: string) => boolean): Promise<void>;
  /** Says whether it could be stored. */
  store(snapshot: string): boolean;
  /** The page sleeps or goes: others may have what it stored. A lock would also keep it out of the bfcache. */
  release(): void;
  /** The page is back. */
  hold(): void;
}

export const openJournal = (key: string, stream: string): Journal => {
  const prefix = `wakeline.${key}.`;
  const own = prefix + stream;
  const locks = navigator.locks as LockManager | undefined;
  let release = () => {};

  const journal: Journal = {
    async inherit(adopt) {
      try {
        const left = Object.keys(localStorage)
          .filter((name) => name.startsWith(prefix) && name != own)
          .map((name) => [name, localStorage.getItem(name) ?? ""] as const)
          .sort((a, b) => parseInt(b[1]) - parseInt(a[1]));
        for (const [name, value] of left) {
          const take = () => {
            const adopted = adopt(value.slice(value.indexOf(" ") + 1));
            // A page that lives after all may have written since.
            if (adopted && localStorage.getItem(name) == value) localStorage.removeItem(name);
          };
          if (locks) await locks.request(name, { ifAvailable: true }, (lock) => lock && take());
          else take();
        }
      } catch {
        // Nothing can be stored here, so nothing was left.
      }
    },
    store(snapshot) {
      try {
        localStorage.setItem(own, `${Date.now()} ${snapshot}`);
        return true;
      } catch {
        return false;
      }
    },
    release: () => release(),
    hold() {
      locks?.request(own, () => new Promise<void>((resolve) => (release = resolve))).catch(() => {});
    },
  };
  journal.hold();
  return journal;
};
