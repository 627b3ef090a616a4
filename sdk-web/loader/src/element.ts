// What an element is called: the same at each visit, and nothing that a person wrote or that tells one from another.

/** Names that a program made up differ from page to page, or tell who is looking. */
const STEADY = /^[a-z][a-z_-]{0,40}$/i;
const MAX_DEPTH = 5;

const step = (element: Element) => {
  const tag = element.localName;
  const own = element.getAttribute("data-wakeline");
  if (own) return `[${own.slice(0, 40)}]`;
  const id = element.getAttribute("id") ?? "";
  if (STEADY.test(id)) return `${tag}#${id}`;
  const role = element.getAttribute("role") ?? "";
  const name = STEADY.test(role) ? `${tag}[${role}]` : tag;
  const alike = Array.from(element.parentElement?.children ?? []).filter((other) => other.localName == tag);
  return alike.length > 1 ? `${name}:${alike.indexOf(element) + 1}` : name;
};

/** A path from the nearest element with a steady name: `form#checkout>div:2>button`. No text, class or value is in it. */
export const pathOf = (element: Element) => {
  const steps: string[] = [];
  for (let at: Element | null = element; at && at.localName != "body" && steps.length < MAX_DEPTH; at = at.parentElement) {
    const name = step(at);
    steps.unshift(name);
    if (/#|^\[/.test(name)) break;
  }
  return steps.join(">") || "body";
};
