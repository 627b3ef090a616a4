import "uplot/dist/uPlot.min.css";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/report.css";
import "./styles/filters.css";
import "./styles/ledger.css";
import "./styles/rules.css";
import "./styles/goals.css";
import { render } from "preact";
import { listen } from "./keyboard";
import { start } from "./state";
import { App } from "./ui/app";

const root = document.getElementById("app");
if (root) render(<App />, root);
listen();
void start();
