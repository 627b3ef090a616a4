// Serves the built dashboard with the API of a running aggregator, so that its looks can be worked on without building
// the server: `node build.mjs && npm run dev -- --api http://127.0.0.1:8090 [--port 5080]`.
import { readFile } from "node:fs/promises";
import { createServer, request as ask } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: args } = parseArgs({ options: { api: { type: "string", default: "http://127.0.0.1:8090" }, port: { type: "string", default: "0" } } });
const dist = join(dirname(fileURLToPath(import.meta.url)), "../dist");
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml" };

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://dashboard");
  if (pathname.startsWith("/api/")) {
    const upstream = ask(new URL(request.url, args.api), { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    upstream.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
    return;
  }
  const path = extname(pathname) === "" ? "/index.html" : normalize(pathname);
  try {
    const bytes = await readFile(join(dist, path));
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(bytes);
  } catch {
    response.writeHead(404).end();
  }
});
server.listen(Number(args.port), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
