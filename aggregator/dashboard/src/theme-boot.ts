// Runs in <head>, before anything is painted, so that a chosen scheme doesn't flash the other one.
import { applyTheme, storedTheme } from "./theme";

applyTheme(storedTheme());
