import { fullNumber } from "../../format";
import { amount, FATE_NAMES, FATES, lineLabel, LOST_BY_CLIENT, whole, type Ledger } from "../../ledger";

const WIDTH = 960;
const HEIGHT = 200;
const GAP = 3;

/** Stacked bars, and the same as a table for whoever can't see them or wants the figures. */
export function FateChart({ ledger }: { ledger: Ledger }) {
  const lines = whole(ledger);
  const most = Math.max(1, ...lines.map(({ received }) => received));
  const width = WIDTH / Math.max(1, lines.length);
  return (
    <div class="fate-chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
        aria-label={`Fates by ${ledger.interval}: at most ${fullNumber(most)} received. The table below has all figures.`}>
        {lines.map((line, index) => {
          let top = HEIGHT;
          return (
            <g key={line.time}>
              <title>{`${lineLabel(line.time, ledger.interval)}: ${fullNumber(line.received)} received, ${fullNumber(line.counted)} counted`}</title>
              {FATES.map((fate) => {
                const height = (HEIGHT * amount(line, fate)) / most;
                top -= height;
                return height > 0 && (
                  <rect key={fate} class={`bar-${fate}`} x={index * width + GAP / 2} y={top} width={Math.max(1, width - GAP)} height={height} />
                );
              })}
            </g>
          );
        })}
      </svg>
      <div class="fate-axis" aria-hidden="true">
        {lines.filter((_, index) => index % Math.ceil(lines.length / 8) === 0).map(({ time }) => (
          <span key={time}>{lineLabel(time, ledger.interval)}</span>
        ))}
      </div>
      <details>
        <summary>As a table</summary>
        <div class="table-scroll fate-table" tabIndex={0} data-own-arrows>
          <table class="rows">
            <caption class="visually-hidden">Fates by {ledger.interval}</caption>
            <thead>
              <tr>
                <th scope="col">{ledger.interval === "hour" ? "Hour" : "Day"}</th>
                <th scope="col" class="number">Received</th>
                {FATES.map((fate) => <th scope="col" class="number" key={fate}>{FATE_NAMES[fate][0]}</th>)}
                <th scope="col" class="number">{LOST_BY_CLIENT[0]}</th>
              </tr>
            </thead>
            <tbody>
              {lines.map((line) => (
                <tr key={line.time}>
                  <th scope="row">{lineLabel(line.time, ledger.interval)}</th>
                  <td class="number">{fullNumber(line.received)}</td>
                  {FATES.map((fate) => <td class="number" key={fate}>{fullNumber(amount(line, fate))}</td>)}
                  <td class="number">{fullNumber(line.lost_by_client)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </div>
  );
}
