// What the browser sends for a page that ends without a word, because its process dies: `fetchLater`, where it exists.

/** `fetch`, but when the page has ended. TypeScript's DOM does not know it yet. */
type FetchLater = (url: string, init: RequestInit) => unknown;

/** Gives a function that replaces what would be sent; without a body nothing would be. */
export const willOf = (address: string) => {
  const fetchLater = (globalThis as { fetchLater?: FetchLater }).fetchLater;
  let last: AbortController | undefined;
  return (body?: Uint8Array<ArrayBuffer>) => {
    last?.abort();
    last = undefined;
    if (!body?.length || !fetchLater) return;
    const next = new AbortController();
    try {
      const headers = { "content-type": "text/plain" };
      fetchLater(address, { method: "POST", body, headers, credentials: "omit", signal: next.signal });
      last = next;
    } catch {
      // More than the page may have: the journal has it.
    }
  };
};
