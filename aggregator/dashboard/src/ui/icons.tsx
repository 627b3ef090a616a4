/** Line drawings of 16 px in the colour of the text around them. All are decoration: what they sit in has a name. */
import type { ComponentChildren } from "preact";

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" fill="none" stroke="currentColor" stroke-width="1.5"
      stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M6 13c3.3 0 3.3 4 6.7 4s3.3-4 6.6-4 3.4 4 6.7 4M6 20c3.3 0 3.3 4 6.7 4s3.3-4 6.6-4 3.4 4 6.7 4" />
  </svg>
);
export const Chevron = () => <Icon><path d="m4.5 6.5 3.5 3.5 3.5-3.5" /></Icon>;
export const Left = () => <Icon><path d="M9.5 4.5 6 8l3.5 3.5" /></Icon>;
export const Right = () => <Icon><path d="M6.5 4.5 10 8l-3.5 3.5" /></Icon>;
export const Check = () => <Icon><path d="m3.5 8.5 3 3 6-7" /></Icon>;
export const Calendar = () => <Icon><rect x="2.5" y="3.5" width="11" height="10" rx="2" /><path d="M2.5 6.8h11M5.5 2v2.5M10.5 2v2.5" /></Icon>;
export const Sun = () => <Icon><circle cx="8" cy="8" r="2.8" /><path d="M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7" /></Icon>;
export const Moon = () => <Icon><path d="M13.5 9.6A5.8 5.8 0 0 1 6.4 2.5a5.8 5.8 0 1 0 7.1 7.1Z" /></Icon>;
export const Keyboard = () => <Icon><rect x="1.5" y="4" width="13" height="8.5" rx="2" /><path d="M4.3 7h.01M6.8 7h.01M9.2 7h.01M11.7 7h.01M5.5 9.8h5" /></Icon>;
export const SignOutIcon = () => <Icon><path d="M6 13.5H4a1.5 1.5 0 0 1-1.5-1.5V4A1.5 1.5 0 0 1 4 2.5h2M10.5 11l3-3-3-3M13.2 8H6.5" /></Icon>;
export const TableIcon = () => <Icon><rect x="2" y="3" width="12" height="10" rx="2" /><path d="M2 6.5h12M2 9.8h12M7 6.5V13" /></Icon>;
export const ChartIcon = () => <Icon><path d="M2 12.5 6 7.8l3 2.4 5-6.2" /></Icon>;
export const Copy = () => <Icon><rect x="5.5" y="5.5" width="8" height="8" rx="1.8" /><path d="M10.5 5.2V4A1.5 1.5 0 0 0 9 2.5H4A1.5 1.5 0 0 0 2.5 4v5A1.5 1.5 0 0 0 4 10.5h1.2" /></Icon>;
export const Pause = () => <Icon><path d="M5.5 3.5v9M10.5 3.5v9" /></Icon>;
export const FilterIcon = () => <Icon><path d="M2 3.5h12L9.5 8.8v3.7l-3 1.2V8.8Z" /></Icon>;
export const Close = () => <Icon><path d="m4.5 4.5 7 7M11.5 4.5l-7 7" /></Icon>;
export const Info = () => <Icon><circle cx="8" cy="8" r="6" /><path d="M8 7.3v3.4M8 5.2v.01" /></Icon>;
export const Download = () => <Icon><path d="M8 2.5v7.3M4.8 6.9 8 10l3.2-3.1M2.8 13.3h10.4" /></Icon>;
export const Bookmark = () => <Icon><path d="M4 2.5h8v11L8 10.8l-4 2.7Z" /></Icon>;
export const Compare = () => <Icon><path d="M2 11.5 5.5 8 8 9.8l6-6.3" /><path d="M2 13.5h12" stroke-dasharray="1.5 2.5" /></Icon>;
