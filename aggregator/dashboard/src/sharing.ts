/** Public links, as people hand them on. */
import type { Link } from "./api";

export const urlOf = ({ secret }: Link, origin = location.origin): string => `${origin}/share/${secret}`;

/** HTML that shows the reports within another page. */
export const embedCode = (link: Link, origin = location.origin): string =>
  `<iframe src="${urlOf(link, origin)}?theme=light" title="Statistics" loading="lazy" style="width: 100%; height: 1600px; border: 0"></iframe>`;

/** Origins that somebody wrote with spaces, commas or lines between. */
export const originsFrom = (text: string): string[] => text.split(/[\s,]+/).filter((each) => each !== "");
