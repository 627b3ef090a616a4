/** The aggregator's HTTP API, as far as the dashboard uses it. The session is a cookie that scripts can't read. */
import type { ExportStatus } from "./export";
import type { ApiFilter } from "./filters";
import type { Goal, GoalRule } from "./goals";
import type { Ledger, Letter, Step } from "./ledger";
import type { DateRange } from "./period";
import type { Preview, Rules, RulesInForce, SavedRules } from "./rules";

export interface Site {
  readonly id: number;
  readonly domain: string;
  readonly timezone: string;
  readonly currency: string;
}

export interface Key {
  readonly key: string;
  readonly kind: string;
}

export interface Query {
  readonly site_id: number;
  readonly metrics: readonly string[];
  readonly date_range: DateRange;
  readonly dimensions?: readonly string[];
  readonly filters?: readonly ApiFilter[];
  readonly order_by?: readonly (readonly [string, "asc" | "desc"])[];
  readonly include?: {
    readonly time_labels?: boolean;
    readonly total_rows?: boolean;
    readonly source?: boolean;
    readonly freshness?: boolean;
    readonly generation?: boolean;
    readonly comparisons?: { readonly mode: "custom"; readonly date_range: DateRange };
  };
  readonly pagination?: { readonly limit: number; readonly offset: number };
}

/** A figure: a number, money, or nothing. */
export type Cell = number | null | { readonly value: number; readonly currency: string };

export interface Row {
  readonly dimensions: readonly string[];
  readonly metrics: readonly Cell[];
  readonly comparison?: { readonly metrics: readonly Cell[]; readonly change: readonly (number | null)[] };
}

/** What an answer was read from. */
export interface Source {
  readonly read: "rollups" | "events";
  readonly exact: boolean;
  readonly why?: string;
}

export interface Answer {
  readonly results: readonly Row[];
  readonly meta: {
    readonly time_labels?: readonly string[];
    readonly total_rows?: number;
    readonly source?: Source;
    readonly generation?: number;
    readonly freshness?: { readonly log_end: number; readonly applied: number; readonly at_ms: number };
    readonly metric_warnings?: Readonly<Record<string, { readonly warning: string }>>;
  };
  readonly query?: { readonly date_range: readonly [string, string] };
}

/** The number of a figure; of money in major units. */
export const amount = (cell: Cell | undefined): number | null => (typeof cell === "object" ? (cell?.value ?? null) : (cell ?? null));

/** The currency of an answer's money, if it has any. */
export function currencyOf({ results }: Answer): string | undefined {
  for (const { metrics } of results) for (const cell of metrics) if (typeof cell === "object" && cell) return cell.currency;
  return undefined;
}

/** The server said no, or nothing (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** What is wrong with single fields, by key. */
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

export const signIn = (token: string): Promise<unknown> => call("POST", "/api/v1/session", { token });
export const signOut = (): Promise<unknown> => call("DELETE", "/api/v1/session");
export const session = (): Promise<{ readonly collector_url?: string }> => call("GET", "/api/v1/session");
export const sites = (): Promise<Site[]> => call<Site[]>("GET", "/api/v1/sites");
export const keys = (site: number): Promise<Key[]> => call<Key[]>("GET", `/api/v1/keys?site=${site}`);
export const query = (body: Query, signal: AbortSignal): Promise<Answer> => call<Answer>("POST", "/api/v2/query", body, signal);
export const ledger = (site: string, interval: Step, signal: AbortSignal): Promise<Ledger> =>
  call<Ledger>("GET", `/api/v1/ledger?${new URLSearchParams({ site_id: site, interval })}`, undefined, signal);

export const status = (signal: AbortSignal): Promise<{ readonly metrics: ExportStatus }> => call("GET", "/api/v1/status", undefined, signal);

export interface LetterPage {
  readonly letters: readonly Letter[];
  readonly next: string | null;
}

export const deadLetters = (site: number, reason: string, after?: string): Promise<LetterPage> =>
  call("GET", `/api/v1/dead-letters?${new URLSearchParams({ site_id: String(site), ...(reason && { reason }), ...(after && { after }) })}`);

export interface Replay {
  readonly accepted: number;
  readonly rejected: number;
  readonly not_replayable: number;
  readonly more: boolean;
}

export const replay = (site: number, which: { readonly ids?: readonly string[]; readonly reason?: string }): Promise<Replay> =>
  call("POST", "/api/v1/dead-letters/replay", { site_id: String(site), ...which });
export const rules = (site: number): Promise<RulesInForce> => call("GET", `/api/v1/sites/${site}/rules`);
export const rulesHistory = (site: number): Promise<SavedRules[]> => call("GET", `/api/v1/sites/${site}/rules/history`);
export const previewRules = (site: number, rules: Rules): Promise<Preview> => call("POST", `/api/v1/sites/${site}/rules/preview`, { rules });
/** `version`: the one that the change was made from; `force`: schemas may break with the last ones. */
export const saveRules = (site: number, rules: Rules, version: number, force: boolean): Promise<RulesInForce> =>
  call("PUT", `/api/v1/sites/${site}/rules`, { rules, version, force });
export const goals = (site: number): Promise<Goal[]> => call("GET", `/api/v1/sites/${site}/goals`);
export const createGoal = (site: number, name: string, rule: GoalRule): Promise<Goal> =>
  call("POST", `/api/v1/sites/${site}/goals`, { name, rule });
export const deleteGoal = (site: number, id: number): Promise<void> => call("DELETE", `/api/v1/sites/${site}/goals/${id}`);
export interface Segment {
  readonly id: number;
  readonly name: string;
  readonly filters: readonly ApiFilter[];
}

export const segments = (site: number): Promise<Segment[]> => call("GET", `/api/v1/sites/${site}/segments`);
export const createSegment = (site: number, name: string, filters: readonly ApiFilter[]): Promise<Segment> =>
  call("POST", `/api/v1/sites/${site}/segments`, { name, filters });
export const deleteSegment = (site: number, id: number): Promise<void> => call("DELETE", `/api/v1/sites/${site}/segments/${id}`);

/** An event as a sample shows it; texts are empty where there is none. */
export interface SampleEvent {
  readonly time: string;
  readonly name: string;
  readonly page: string;
  readonly hostname: string;
  readonly source: string;
  readonly country: string;
  readonly device: string;
  readonly browser: string;
  readonly order?: { readonly long: string };
}

/** The latest events that filters let through. */
export const sample = (
  body: { readonly site_id: number; readonly date_range: DateRange; readonly filters: readonly ApiFilter[]; readonly limit: number },
  signal: AbortSignal,
): Promise<{ readonly events: readonly SampleEvent[]; readonly matching: number }> => call("POST", "/api/v1/events/sample", body, signal);

/** A public link: who has it may read the reports of one site. */
export interface Link {
  readonly id: number;
  readonly name: string;
  readonly secret: string;
  /** Origins whose pages may show it in a frame. */
  readonly embed: readonly string[];
  readonly created_at: number;
}

export const links = (site: number): Promise<Link[]> => call("GET", `/api/v1/sites/${site}/links`);
export const createLink = (site: number, name: string, embed: readonly string[]): Promise<Link> =>
  call("POST", `/api/v1/sites/${site}/links`, { name, embed });
export const deleteLink = (site: number, id: number): Promise<void> => call("DELETE", `/api/v1/sites/${site}/links/${id}`);

let link: string | undefined;

/** From now on what is asked is asked as who has this public link. */
export function useLink(secret: string): void {
  link = secret;
}

/** What says who is asking, where no cookie does. */
export const credentials = (): Record<string, string> => (link === undefined ? {} : { authorization: `Bearer ${link}` });

export const liveUrl = (site: number): string => `/api/v1/live?site=${site}`;

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: { ...credentials(), ...(body !== undefined && { "content-type": "application/json" }) },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The server can't be reached.");
  }
  if (!response.ok) throw await problem(response);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** What a problem+json answer says, in its own words. */
async function problem(response: Response): Promise<ApiError> {
  const { status } = response;
  try {
    const said = (await response.json()) as { detail?: string; title?: string; errors?: readonly { key: string; detail: string }[] };
    const fields = Object.fromEntries((said.errors ?? []).map(({ key, detail }) => [key, detail]));
    return new ApiError(status, said.detail ?? said.title ?? `The server answered ${status}.`, fields);
  } catch {
    return new ApiError(status, `The server answered ${status}.`);
  }
}
