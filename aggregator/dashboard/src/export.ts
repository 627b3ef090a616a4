/** How far InfluxDB is, which others read; the figures here come from the state where it lags. */
import { duration, fullNumber } from "./format";

export interface ExportStatus {
  readonly store: string;
  readonly behind_since_ms?: number;
  readonly pending_windows: number;
  readonly write_trouble?: string;
}

/** What to say of it; empty if it is where it should be. */
export function exportNotice(status: ExportStatus, nowMs: number): string {
  if (status.store === "state" || status.behind_since_ms === undefined) return "";
  const since = duration((nowMs - status.behind_since_ms) / 1000);
  const windows = fullNumber(status.pending_windows);
  const why = status.write_trouble ? ` ${status.write_trouble}.` : "";
  return `For ${since} it has not been where it should be; ${windows} minutes, hours and days wait to be written.${why} The figures here are complete.`;
}
