// Not bundled: as the package is published.
export const load = async () => {
  const { init } = await import("/npm/wakeline.mjs");
  return (collector) => {
    const wakeline = init({ key: "bench", collector: `${collector}/w`, pageViews: false });
    return { view: () => wakeline.page(), track: (name, properties) => wakeline.track(name, properties) };
  };
};
