/** The aggregator's HTTP API, as far as the dashboard uses it. The session is a cookie that scripts can't read. */
import type { ExportStatus } from "./export";
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
  readonly include?: Readonly<Record<string, boolean>>;
  readonly pagination?: { readonly limit: number; readonly offset: number };
}

export interface Answer {
  readonly results: readonly { readonly dimensions: readonly string[]; readonly metrics: readonly (number | null)[] }[];
  readonly meta: { readonly time_labels?: readonly string[]; readonly total_rows?: number };
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
export const liveUrl = (site: number): string => `/api/v1/live?site=${site}`;

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
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
