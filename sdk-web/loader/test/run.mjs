// Runs the unit tests: bundles test/*.test.ts, since Node 20 reads no TypeScript, and hands them to `node --test`.
// Its argument is the folder that has the packages.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const { build } = createRequire(join(resolve(process.argv[2] ?? "node_modules"), "_"))("esbuild");
const here = dirname(fileURLToPath(import.meta.url));
const outdir = await mkdtemp(join(tmpdir(), "wakeline-loader-test-"));
try {
  await build({
    entryPoints: (await readdir(here)).filter((name) => name.endsWith(".test.ts")).map((name) => join(here, name)),
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const files = (await readdir(outdir)).map((name) => join(outdir, name));
  const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  await rm(outdir, { recursive: true, force: true });
}
