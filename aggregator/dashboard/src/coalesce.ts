/**
 * Turns any number of requests to run into as few runs as show the latest state: at most one at a time, and between
 * the end of one and the start of the next at least `gap` ms, or the duration of the last run if that is longer,
 * so that a slow server is asked less often. A request that comes during a run leads to another one.
 */
export class Coalescer {
  #running: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wanted = false;
  #notBefore = -Infinity;

  constructor(
    private readonly work: (signal: AbortSignal) => Promise<void>,
    private readonly gap: () => number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Runs soon. */
  request(): void {
    this.#wanted = true;
    if (this.#running || this.#timer !== undefined) return;
    const wait = this.#notBefore - this.now();
    if (wait <= 0) void this.#run();
    else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        void this.#run();
      }, wait);
    }
  }

  /** Runs at once and gives up the run that is under way: it answers a question that is no longer asked. */
  restart(): void {
    this.stop();
    this.#notBefore = -Infinity;
    this.request();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wanted = false;
    this.#running?.abort();
    this.#running = undefined;
  }

  async #run(): Promise<void> {
    const mine = new AbortController();
    this.#running = mine;
    this.#wanted = false;
    const started = this.now();
    try {
      await this.work(mine.signal);
    } finally {
      // After stop() or restart() the state belongs to a later run.
      if (this.#running === mine) {
        this.#running = undefined;
        this.#notBefore = this.now() + Math.max(this.gap(), this.now() - started);
        if (this.#wanted) this.request();
      }
    }
  }
}
