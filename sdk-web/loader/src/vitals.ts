// Web vitals, as the `web-vitals` library measures them.

import { onCLS, onFCP, onINP, onLCP, onTTFB } from "web-vitals";
import type { Setup } from "./event";

/** Records each metric once it is known: an event `web_vital` that no visit begins or ends by. */
export const capture = (setup: Setup) => {
  for (const observe of [onCLS, onFCP, onINP, onLCP, onTTFB]) {
    observe(({ name, value, rating }) => {
      const rounded = Math.round(value * 1_000) / 1_000;
      setup.record({ type: "custom", name: "web_vital", properties: { metric: name, value: rounded, rating }, interactive: false });
    });
  }
};
