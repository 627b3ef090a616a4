import { screen } from "../state";
import { Dashboard } from "./dashboard";
import { NoLink, NoSites } from "./install";
import { Mark } from "./icons";
import { SignIn } from "./sign-in";

export function App() {
  switch (screen.value) {
    case "starting":
      return (
        <div class="splash" role="status" aria-label="Loading">
          <Mark />
        </div>
      );
    case "signed-out":
      return <SignIn />;
    case "no-sites":
      return <NoSites />;
    case "no-link":
      return <NoLink />;
    case "site":
      return <Dashboard />;
  }
}
