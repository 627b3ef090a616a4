import { init, track } from "@plausible-analytics/tracker";

export const load = () => (collector) => {
  init({
    domain: "bench",
    endpoint: `${collector}/api/event`,
    captureOnLocalhost: true,
    autoCapturePageviews: false,
    logging: false,
  });
  // Its properties are texts.
  const texts = (properties) => Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, `${value}`]));
  return { view: () => track("pageview", {}), track: (name, properties) => track(name, { props: texts(properties) }) };
};
