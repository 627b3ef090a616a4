import { useRef } from "preact/hooks";
import { PERIODS, periodName, shift } from "../period";
import { choosePeriod, customRangeOpen, shiftPeriod, today, view } from "../state";
import { Dialog } from "./dialog";
import { Calendar, Left, Right } from "./icons";
import { Menu } from "./menu";

export function PeriodPicker() {
  const { period } = view.value;
  const day = today();
  const name = periodName(period);
  return (
    <div class="period" role="group" aria-label="Period">
      <div class="stepper">
        <button type="button" class="button icon-only" aria-label="Earlier" title="Earlier (←)" disabled={!shift(period, -1, day)}
          onClick={() => shiftPeriod(-1)}>
          <Left />
        </button>
        <button type="button" class="button icon-only" aria-label="Later" title="Later (→)" disabled={!shift(period, 1, day)}
          onClick={() => shiftPeriod(1)}>
          <Right />
        </button>
      </div>
      <Menu label={`Period: ${name}`} align="end" chosen={period.key}
        choose={(key) => (key === "custom" ? (customRangeOpen.value = true) : choosePeriod({ key }))}
        choices={PERIODS.map(({ key, name: choice, shortcut, group }) => ({ value: key, name: choice, shortcut, group }))}>
        <Calendar /> <span class="period-name">{name}</span>
      </Menu>
    </div>
  );
}

export function CustomRange() {
  const from = useRef<HTMLInputElement>(null);
  const to = useRef<HTMLInputElement>(null);
  if (!customRangeOpen.value) return null;
  const day = today();
  const { period } = view.value;
  const close = () => (customRangeOpen.value = false);
  const submit = (event: Event) => {
    event.preventDefault();
    const days = [from.current?.value ?? "", to.current?.value ?? ""].sort();
    close();
    choosePeriod({ key: "custom", from: days[0] ?? day, to: days[1] ?? day });
  };
  return (
    <Dialog title="Custom range" close={close}>
      <form class="range" onSubmit={submit}>
        <label>First day<input ref={from} type="date" required max={day} defaultValue={period.from ?? day} /></label>
        <label>Last day<input ref={to} type="date" required max={day} defaultValue={period.to ?? day} /></label>
        <button type="submit" class="button primary">Show</button>
      </form>
    </Dialog>
  );
}
