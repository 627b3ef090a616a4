/** The connection over which a site's news come (Server-Sent Events). It is opened again, ever more patiently, until closed. */

export interface LiveEvent {
  readonly received_at: number;
  readonly time: number;
  /** `counted`, `duplicate` or `rejected`. */
  readonly fate: string;
  readonly reason?: string | null;
  readonly detail?: string | null;
  readonly event_type: string;
  readonly name: string;
  readonly path: string;
  readonly visitor: string;
}

export type Connection = "connecting" | "live" | "waiting";

export interface LiveHandlers {
  onEvent(event: LiveEvent): void;
  /** The figures are not what they were; also after each (re)connection, since news may have been missed. */
  onChanged(): void;
  onNow(visitors: number): void;
  onState(state: Connection): void;
  /** The connection was lost: a moment to find out whether the session still holds. */
  onLost(): void;
}

/** The part of `EventSource` that is used. */
export interface Source {
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

export class LiveConnection {
  #source: Source | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;

  constructor(
    private readonly url: string,
    private readonly handlers: LiveHandlers,
    private readonly open: (url: string) => Source = (address) => new EventSource(address) as unknown as Source,
    private readonly random: () => number = Math.random,
  ) {}

  connect(): void {
    this.close();
    this.handlers.onState("connecting");
    const source = this.open(this.url);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      this.handlers.onState("live");
      this.handlers.onChanged();
    });
    source.addEventListener("error", () => {
      // EventSource retries some failures by itself and gives up on others; this way all are treated alike.
      source.close();
      if (this.#source !== source) return;
      this.#source = undefined;
      this.handlers.onState("waiting");
      this.handlers.onLost();
      this.#timer = setTimeout(() => this.connect(), this.#nextWait());
    });
    source.addEventListener("event", (message) => read<LiveEvent>(message.data, (event) => this.handlers.onEvent(event)));
    source.addEventListener("changed", () => this.handlers.onChanged());
    source.addEventListener("now", (message) =>
      read<{ visitors: number }>(message.data, ({ visitors }) => this.handlers.onNow(visitors)),
    );
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  /** Doubles up to a limit; a random half of it keeps many dashboards from coming back in one moment. */
  #nextWait(): number {
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    return wait / 2 + (wait / 2) * this.random();
  }
}

function read<T>(data: string, use: (value: T) => void): void {
  let value: T;
  try {
    value = JSON.parse(data) as T;
  } catch {
    return; // one message that can't be read must not end the others
  }
  use(value);
}
