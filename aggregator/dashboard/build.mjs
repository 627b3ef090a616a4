// Builds the dashboard: `node build.mjs [--outdir DIR] [--modules DIR]`.
//
// Writes DIR/index.html and DIR/assets/NAME-HASH.EXT. Cargo's build script calls it with the folder into which it
// installed the packages (`--modules`); without that they come from node_modules beside this file.
// Fails if what a browser loads first is larger than the budget.
import { createRequire } from "node:module";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";

/** HTML, styles and scripts of the first load, gzipped. */
const BUDGET_BYTES = 100_000;

const here = dirname(fileURLToPath(import.meta.url));
const { values: args } = parseArgs({ options: { outdir: { type: "string" }, modules: { type: "string" } } });
const outdir = resolve(args.outdir ?? join(here, "dist"));
const modules = resolve(args.modules ?? join(here, "node_modules"));
const esbuild = createRequire(join(modules, "_"))("esbuild");

await rm(outdir, { recursive: true, force: true });
await mkdir(outdir, { recursive: true });

const common = {
  absWorkingDir: here,
  outdir: join(outdir, "assets"),
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox120", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "copy" },
  nodePaths: [modules],
  legalComments: "eof",
  charset: "utf8",
  metafile: true,
  logLevel: "warning",
};
// `theme` runs before the first paint and is no module; `app` is everything else, in parts: what only some pages need is
// fetched when they are shown.
const built = await Promise.all([
  esbuild.build({ ...common, entryPoints: { app: "src/main.tsx", icon: "src/icon.svg" }, splitting: true }),
  esbuild.build({ ...common, entryPoints: { theme: "src/theme-boot.ts" } }),
]);
const outputs = Object.assign({}, ...built.map(({ metafile }) => metafile.outputs));

const emitted = new Map(
  Object.keys(outputs).map((path) => {
    const name = basename(path);
    return [name.replace(/-[A-Z0-9]{8}\./, "."), `/${relative(outdir, resolve(here, path)).replaceAll("\\", "/")}`];
  }),
);
const html = (await readFile(join(here, "src/index.html"), "utf8")).replace(/\{\{(.+?)\}\}/g, (_, name) => {
  const path = emitted.get(name);
  if (!path) throw new Error(`index.html names ${name}, which was not built (${[...emitted.keys()].join(", ")})`);
  return path;
});
await writeFile(join(outdir, "index.html"), html);

/** What a browser fetches with the page: all but what is imported later. */
const first = new Set([...emitted].filter(([name]) => html.includes(emitted.get(name))).map(([, path]) => path.slice(1)));
for (const path of first) {
  const output = Object.entries(outputs).find(([name]) => basename(name) === basename(path))?.[1];
  for (const { path: part, kind } of output?.imports ?? []) if (kind === "import-statement") first.add(`assets/${basename(part)}`);
}

let total = 0;
for (const name of ["index.html", ...(await readdir(join(outdir, "assets"))).map((file) => `assets/${file}`)]) {
  const bytes = await readFile(join(outdir, name));
  const zipped = gzipSync(bytes, { level: 9 }).length;
  const later = name !== "index.html" && !first.has(name);
  if (!later) total += zipped;
  console.log(`${name}: ${bytes.length} B, ${zipped} B gzipped${later ? ", later" : ""}`);
}
console.log(`first load: ${total} B gzipped of ${BUDGET_BYTES}`);
if (total > BUDGET_BYTES) {
  console.error(`the first load is ${total - BUDGET_BYTES} B over its budget of ${BUDGET_BYTES} B gzipped`);
  process.exit(1);
}
