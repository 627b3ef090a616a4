import { useEffect, useRef, useState } from "preact/hooks";
import { signInError, submitToken } from "../state";
import { Mark } from "./icons";

export function SignIn() {
  const [busy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);

  const submit = async (event: Event) => {
    event.preventDefault();
    const token = input.current?.value.trim() ?? "";
    if (token === "") return input.current?.focus();
    setBusy(true);
    await submitToken(token);
    setBusy(false);
    input.current?.select();
  };

  const error = signInError.value;
  return (
    <main class="gate">
      <form class="gate-card" onSubmit={(event) => void submit(event)}>
        <Mark />
        <h1>Sign in to Wakeline</h1>
        <label for="token">Access token</label>
        <input ref={input} id="token" name="token" type="password" autocomplete="current-password" spellcheck={false}
          required aria-invalid={error !== ""} aria-describedby="token-help" />
        <p class="gate-error" role="alert">{error}</p>
        <button type="submit" class="button primary" disabled={busy}>{busy ? "Signing in…" : "Sign in"}</button>
        <p id="token-help" class="muted">
          The first token was printed when the server first started. <code>wakeline-aggregator token create</code> makes another.
        </p>
      </form>
    </main>
  );
}
