/** A site's goals: as the API has them, and as a form makes them. */

export type GoalRule = { readonly event: string } | { readonly page: string } | { readonly filter: unknown };

export interface Goal {
  readonly id: number;
  readonly name: string;
  readonly rule: GoalRule;
}

export const KINDS = ["event", "page", "filter"] as const;
export type Kind = (typeof KINDS)[number];

/** What reaches a goal, in words; of a goal that nobody made, events of its name. */
export function reachedBy(rule: GoalRule | undefined, name: string): string {
  if (!rule) return `Every event “${name}”`;
  if ("event" in rule) return `Events “${rule.event}”`;
  if ("page" in rule) return `Views of ${rule.page}`;
  return JSON.stringify(rule.filter);
}

/** The rule that a form says; throws if a filter is no JSON. */
export function ruleOf(kind: Kind, text: string): GoalRule {
  switch (kind) {
    case "event":
      return { event: text.trim() };
    case "page":
      return { page: text.trim() };
    case "filter":
      try {
        return { filter: JSON.parse(text) };
      } catch {
        throw new Error('The filter is no JSON, such as ["is", "event:name", ["order"]].');
      }
  }
}
