import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/** A component whose code is fetched when it is first shown; a dialog has no place that would be empty until then. */
export function lazy(load: () => Promise<{ readonly default: ComponentType }>, dialog = false): ComponentType {
  let loaded: ComponentType | undefined;
  return function Lazy() {
    const [, setReady] = useState(loaded !== undefined);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (loaded) return;
      load().then(
        (module) => {
          loaded = module.default;
          setReady(true);
        },
        () => setFailed(true),
      );
    }, []);
    const Shown = loaded;
    if (Shown) return <Shown />;
    return failed ? (
      <div class="banner" role="alert">
        <p>This page could not be loaded: the dashboard was updated, or the server can’t be reached.</p>
        <button type="button" class="button" onClick={() => location.reload()}>Reload</button>
      </div>
    ) : dialog ? null : <div class="panel panel-fill skeleton" role="status" aria-label="Loading" />;
  };
}
