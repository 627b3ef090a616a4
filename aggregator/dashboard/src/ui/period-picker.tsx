import { useRef } from "preact/hooks";
import { days, PERIODS, periodName, shift } from "../period";
import { choosePeriod, shiftPeriod } from "../navigate";
import { customRangeOpen, today, view } from "../state";
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
  const [first, last] = days(view.value.period, day) ?? [day, day];
  const close = () => (customRangeOpen.value = false);
  const submit = (event: Event) => {
    event.preventDefault();
    const [earlier = day, later = day] = [from.current?.value ?? day, to.current?.value ?? day].sort();
    close();
    choosePeriod({ key: "custom", from: earlier, to: later });
  };
  return (
    <Dialog title="Custom range" close={close}>
      <form class="range" onSubmit={submit}>
        <label>First day<input ref={from} type="date" required autoFocus max={day} defaultValue={first} /></label>
        <label>Last day<input ref={to} type="date" required max={day} defaultValue={last < day ? last : day} /></label>
        <button type="submit" class="button primary">Show</button>
      </form>
    </Dialog>
  );
}
