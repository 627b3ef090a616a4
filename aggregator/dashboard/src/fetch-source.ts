/** Server-Sent Events over `fetch`: unlike `EventSource` it can say who is asking, where no cookie does. */
import type { Source } from "./live";

export class FetchSource implements Source {
  readonly #listeners = new Map<string, (event: MessageEvent<string>) => void>();
  readonly #end = new AbortController();

  constructor(url: string, headers: Readonly<Record<string, string>>) {
    void this.#read(url, headers);
  }

  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(type, listener);
  }

  close(): void {
    this.#end.abort();
  }

  async #read(url: string, headers: Readonly<Record<string, string>>): Promise<void> {
    try {
      const response = await fetch(url, { headers, signal: this.#end.signal, cache: "no-store" });
      if (!response.ok || !response.body) throw new Error(`the server answered ${response.status}`);
      this.#tell("open", "");
      const messages = new Messages((type, data) => this.#tell(type, data));
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) messages.add(decoder.decode(part.value, { stream: true }));
      throw new Error("the stream ended");
    } catch {
      if (!this.#end.signal.aborted) this.#tell("error", "");
    }
  }

  #tell(type: string, data: string): void {
    this.#listeners.get(type)?.(new MessageEvent(type, { data }));
  }
}

/** Cuts a stream of text into messages: lines of `event:` and `data:`, and an empty one after each. */
export class Messages {
  #rest = "";
  #type = "";
  #data: string[] = [];

  constructor(private readonly tell: (type: string, data: string) => void) {}

  add(text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\n/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
  }

  #line(line: string): void {
    if (line === "") {
      if (this.#data.length > 0) this.tell(this.#type || "message", this.#data.join("\n"));
      this.#type = "";
      this.#data = [];
    } else if (line.startsWith("event:")) this.#type = line.slice(6).trim();
    else if (line.startsWith("data:")) this.#data.push(line.slice(5).replace(/^ /, ""));
  }
}
