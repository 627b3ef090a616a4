/** A site's rules: as the API has them, as a form has them, and what changed between two. */

export const REDACTIONS = ["off", "mask", "hash", "drop"] as const;
export type Redaction = (typeof REDACTIONS)[number];

export interface SchemaRule {
  readonly event: string;
  readonly mode: "warn" | "reject";
  readonly schema: unknown;
}

export interface Rules {
  readonly bots: { readonly crawlers: boolean; readonly automation: boolean; readonly libraries: boolean; readonly datacentres: boolean };
  readonly spam: boolean;
  readonly hosts: readonly string[];
  readonly origins: readonly string[];
  readonly blocked_paths: readonly string[];
  readonly capture: readonly string[];
  readonly sample_percent: number;
  readonly limits: { readonly ip_per_minute: number; readonly key_per_minute: number; readonly site_per_minute: number; readonly per_day: number };
  readonly urls: { readonly keep_parameters: readonly string[]; readonly trim_trailing_slash: boolean; readonly lower_case_paths: boolean };
  readonly redact: { readonly email: Redaction; readonly card: Redaction; readonly phone: Redaction };
  readonly schemas: readonly SchemaRule[];
}

export interface SavedRules {
  readonly version: number;
  readonly created_at: number;
  readonly changed_by: string;
  readonly rules: Rules;
}

export interface RulesInForce extends SavedRules {
  readonly collectors: { readonly connected: number; readonly in_force: number };
}

export interface Sample {
  readonly received_at: string;
  readonly reason: string;
  readonly detail: string;
  readonly type: string;
  readonly name: string;
  readonly page: string;
}

export interface Changes {
  readonly events: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly samples: readonly Sample[];
}

export interface Preview {
  readonly from: string;
  readonly to: string;
  readonly complete: boolean;
  readonly accepted: number;
  readonly refused: number;
  readonly would_refuse: Changes;
  readonly would_accept: Changes;
  readonly not_told: readonly string[];
}

/** What is wrong with a schema itself, or with one path of it. */
export const wrongWithSchema = (errors: Readonly<Record<string, string>>, at: number): string => {
  const key = `schemas[${at}].schema`;
  const found = Object.entries(errors).filter(([name]) => name === key || name.startsWith(`${key}.`));
  return found.map(([name, what]) => (name === key ? what : `${name.slice(key.length + 1)}: ${what}`)).join("; ");
};

/** Whether all that is wrong is that schemas break with the last ones: that may be saved if somebody insists. */
export const onlyBreaks = (errors: Readonly<Record<string, string>>): boolean =>
  Object.keys(errors).length > 0 && Object.keys(errors).every((name) => /^schemas\[\d+\]\.schema\./.test(name));

/** The entries of a text with one in each line. */
export const entries = (text: string): string[] => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** All values of rules by their keys, `limits.per_day`; lists and schemas as one text. */
export function flat(rules: Rules): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const put = (key: string, value: unknown): void => {
    if (Array.isArray(value)) values.set(key, value.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(", "));
    else if (typeof value === "object" && value !== null) for (const [name, inner] of Object.entries(value)) put(key ? `${key}.${name}` : name, inner);
    else values.set(key, String(value));
  };
  put("", rules);
  return values;
}

export interface Difference {
  readonly key: string;
  readonly before: string;
  readonly after: string;
}

/** What changed, by key. */
export function differences(before: Rules, after: Rules): readonly Difference[] {
  const [old, now] = [flat(before), flat(after)];
  const keys = [...new Set([...old.keys(), ...now.keys()])];
  return keys
    .map((key) => ({ key, before: old.get(key) ?? "", after: now.get(key) ?? "" }))
    .filter((each) => each.before !== each.after);
}

/** `all 2 collectors`, `1 of 2 collectors`; what else there is to say if none is connected. */
export function obedience({ collectors: { connected, in_force }, version }: RulesInForce): string {
  if (connected === 0) return "No collector is connected: they take over the rules when they come back.";
  return `${in_force} of ${connected} ${connected === 1 ? "collector runs" : "collectors run"} version ${version}`;
}

/** `at least` where a preview ran out of time. */
export const counted = (preview: Preview, changes: Changes, number: (count: number) => string): string =>
  `${preview.complete ? "" : "at least "}${number(changes.events)}`;
