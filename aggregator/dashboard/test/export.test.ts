import assert from "node:assert/strict";
import { test } from "node:test";
import { exportNotice } from "../src/export";

const away = { store: "influxdb", behind_since_ms: 1_000, pending_windows: 1_200, write_trouble: "reach InfluxDB at http://x" };

test("an InfluxDB that is behind is told with how far, since when and why", () => {
  const notice = exportNotice(away, 126_000);
  for (const part of ["2m 05s", "1,200 minutes", "reach InfluxDB at http://x."]) assert.ok(notice.includes(part), notice);
});

test("nothing is said while it is where it should be, or is not there at all", () => {
  assert.equal(exportNotice({ store: "influxdb", pending_windows: 3 }, 0), "");
  assert.equal(exportNotice({ ...away, store: "state" }, 0), "");
});
