/** Tables as files that spreadsheets read (RFC 4180). */

export type CsvCell = string | number | null;

/** Texts that a spreadsheet would take for a formula get an apostrophe in front, since visitors choose some of them. */
const field = (cell: CsvCell): string => {
  if (cell === null) return "";
  if (typeof cell === "number") return String(cell);
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export const csv = (rows: readonly (readonly CsvCell[])[]): string => rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");

/** `shop.example sources 2026-11-21.csv`, of what file systems take. */
export const fileName = (...parts: readonly string[]): string => `${parts.join(" ").replace(/[^\p{L}\p{N}._ -]+/gu, "-")}.csv`;

/** Hands a file to the browser's downloads. */
export function save(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Some browsers read it only after the click was handled.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
