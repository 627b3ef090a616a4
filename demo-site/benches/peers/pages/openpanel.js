import { OpenPanel } from "@openpanel/web";

export const load = () => (collector) => {
  const panel = new OpenPanel({ clientId: "bench", apiUrl: collector });
  return { view: () => panel.screenView(), track: (name, properties) => panel.track(name, properties) };
};
