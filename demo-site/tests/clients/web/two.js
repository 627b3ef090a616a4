// Two clients on one page, each as if it were alone.
import "./plausible.js";
import "./segment.js";
