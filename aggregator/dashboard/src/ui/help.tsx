import { PERIODS } from "../period";
import { helpOpen } from "../state";
import { Dialog } from "./dialog";

const OTHERS = [
  ["← →", "Earlier or later period"],
  ["X", "Compare, or no more"],
  ["I", "Steps of the chart"],
  ["/", "Filter; in a dialog, search"],
  ["Esc", "Close a dialog, else clear the filters"],
  ["1 – 9", "Switch site"],
  ["?", "This help"],
] as const;

export function Help() {
  if (!helpOpen.value) return null;
  const row = (key: string, name: string) => (
    <div class="shortcut" key={key}>
      <dt><kbd>{key}</kbd></dt>
      <dd>{name.replace("…", "")}</dd>
    </div>
  );
  return (
    <Dialog title="Keyboard shortcuts" close={() => (helpOpen.value = false)}>
      <div class="shortcuts">
        <section>
          <h3>Period</h3>
          <dl>{PERIODS.map(({ shortcut, name }) => row(shortcut, name))}</dl>
        </section>
        <section>
          <h3>Elsewhere</h3>
          <dl>{OTHERS.map(([key, name]) => row(key, name))}</dl>
        </section>
      </div>
    </Dialog>
  );
}
