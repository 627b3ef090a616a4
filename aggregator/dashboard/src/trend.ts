import { amount, type Answer } from "./api";

export interface Trend {
  readonly page: string;
  readonly now: number;
  readonly before: number;
}

/** Pages by how many visitors more they have than before, then by how many they have. */
export function trend({ results }: Answer): readonly Trend[] {
  const all = results.map(({ dimensions: [page = ""], metrics: [now], comparison }): Trend => ({
    page, now: amount(now) ?? 0, before: amount(comparison?.metrics[0]) ?? 0,
  }));
  return all.sort((a, b) => b.now - b.before - (a.now - a.before) || b.now - a.now || (a.page < b.page ? -1 : 1));
}
