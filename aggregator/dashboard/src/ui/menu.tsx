/** A button that opens a list of choices. Arrows, Home, End, Escape and the choices' letters work as in a native menu. */
import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { Check, Chevron } from "./icons";

export interface Choice<T> {
  readonly value: T;
  readonly name: string;
  readonly shortcut?: string;
  /** Choices of different groups are set apart. */
  readonly group?: number;
  /** Chosen or not, whatever else is chosen. */
  readonly checked?: boolean;
}

interface MenuProps<T> {
  /** What is chosen here, for those who don't see it. */
  readonly label: string;
  readonly choices: readonly Choice<T>[];
  readonly chosen: T;
  readonly choose: (value: T) => void;
  readonly children: ComponentChildren;
  readonly align?: "start" | "end";
}

export function Menu<T>({ label, choices, chosen, choose, children, align = "start" }: MenuProps<T>) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!open) return;
    const items = list.current?.querySelectorAll<HTMLElement>("[role=menuitemradio]");
    const at = choices.findIndex(({ value }) => value === chosen);
    items?.[Math.max(0, at)]?.focus();
    const outside = (event: PointerEvent) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const pick = (value: T) => {
    close();
    choose(value);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const items = [...(list.current?.querySelectorAll<HTMLElement>("[role=menuitemradio]") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const step: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 };
    const next = step[event.key];
    const byLetter = choices.find(({ shortcut }) => shortcut === event.key.toUpperCase());
    if (next !== undefined) items[(next + items.length) % items.length]?.focus();
    else if (event.key === "Escape") close();
    else if (event.key === "Tab") return setOpen(false);
    else if (byLetter && !event.ctrlKey && !event.metaKey && !event.altKey) pick(byLetter.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="menu" ref={root}>
      <button ref={button} type="button" class="button" aria-haspopup="menu" aria-expanded={open} aria-label={label}
        onClick={() => setOpen(!open)}
        onKeyDown={(event) => {
          if (event.key !== "ArrowDown") return;
          event.preventDefault();
          event.stopPropagation();
          setOpen(true);
        }}>
        {children}
        <Chevron />
      </button>
      {open && (
        <div ref={list} class={`menu-list menu-${align}`} role="menu" aria-label={label} onKeyDown={onKeyDown}>
          {choices.map(({ value, name, shortcut, group, checked = value === chosen }, index) => (
            <button key={String(value)} type="button" role="menuitemradio" aria-checked={checked} tabIndex={-1}
              class={index > 0 && group !== choices[index - 1]?.group ? "menu-item menu-next-group" : "menu-item"}
              onClick={() => pick(value)}>
              <span class="menu-check">{checked && <Check />}</span>
              <span class="menu-name">{name}</span>
              {shortcut && <kbd aria-hidden="true">{shortcut}</kbd>}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
