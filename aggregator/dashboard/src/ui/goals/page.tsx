import { useCallback, useEffect, useState } from "preact/hooks";
import * as api from "../../api";
import { fullNumber } from "../../format";
import { KINDS, reachedBy, ruleOf, type Goal, type Kind } from "../../goals";
import { site } from "../../state";

/** What is told of each goal. */
const METRICS = ["visitors", "conversion_rate", "events"];

/** A site's goals, what they were reached by, and a form for more. Loaded when somebody looks at it. */
export default function GoalsPage() {
  const current = site.value;
  return current ? <OfSite key={current.id} site={current.id} /> : null;
}

type Figures = ReadonlyMap<string, readonly (number | null)[]>;

function OfSite({ site: id }: { readonly site: number }) {
  const [goals, setGoals] = useState<readonly Goal[]>();
  const [figures, setFigures] = useState<Figures>(new Map());
  const [said, setSaid] = useState("");
  const fail = (error: unknown) => setSaid(error instanceof Error ? error.message : String(error));

  const load = useCallback(async () => {
    try {
      setGoals(await api.goals(id));
      const { results } = await api.query(
        { site_id: id, metrics: METRICS, date_range: "28d", dimensions: ["event:goal"], pagination: { limit: 500, offset: 0 } },
        new AbortController().signal,
      );
      setFigures(new Map(results.map(({ dimensions, metrics }) => [dimensions[0] ?? "", metrics.map(api.amount)])));
    } catch (error) {
      fail(error);
    }
  }, [id]);
  useEffect(() => void load(), [load]);

  const act = async (work: () => Promise<string>) => {
    try {
      const done = await work();
      await load();
      setSaid(done);
    } catch (error) {
      fail(error);
    }
  };
  const names = new Set([...(goals ?? []).map(({ name }) => name), ...figures.keys()]);
  return (
    <>
      <div class="toolbar"><h1>Goals</h1></div>
      <p class="rules-said" role="status">{said}</p>
      <NewGoal make={(name, kind, text) => act(async () => {
        await api.createGoal(id, name, ruleOf(kind, text));
        return `“${name}” is a goal now, also of what happened before.`;
      })} />
      <section class="panel" aria-labelledby="goals-title">
        <header class="panel-head"><h2 id="goals-title">Goals of the last 28 days</h2></header>
        {!goals ? <div class="skeleton" role="status" aria-label="Loading" /> : (
          <div class="table-scroll" role="region" aria-labelledby="goals-title" tabIndex={0}>
            <table class="rows goals">
              <thead><tr>
                <th scope="col">Goal</th><th scope="col">Reached by</th><th scope="col">Visitors</th><th scope="col">Of all</th>
                <th scope="col">Events</th><th scope="col"><span class="visually-hidden">Delete</span></th>
              </tr></thead>
              <tbody>
                {[...names].map((name) => {
                  const goal = goals.find((each) => each.name === name);
                  const [visitors, rate, events] = figures.get(name) ?? [0, 0, 0];
                  return (
                    <tr key={name}>
                      <th scope="row">{name}</th>
                      <td>{reachedBy(goal?.rule, name)}</td>
                      <td>{fullNumber(visitors ?? 0)}</td>
                      <td>{rate ?? 0}%</td>
                      <td>{fullNumber(events ?? 0)}</td>
                      <td>{goal && <button type="button" class="button" aria-label={`Delete ${name}`} onClick={() => void act(async () => {
                        await api.deleteGoal(id, goal.id);
                        return `“${name}” was deleted.`;
                      })}>Delete</button>}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
        )}
      </section>
    </>
  );
}

const KIND_NAMES: Readonly<Record<Kind, string>> = { event: "An event of this name", page: "A view of this page", filter: "An event that fits this filter" };
const HINTS: Readonly<Record<Kind, string>> = {
  event: "The name of a custom event, or a type such as order",
  page: "A path such as /thank-you*; * stands for any characters but /, ** for any",
  filter: 'As in the API: ["and", [["is", "event:name", ["order"]], ["is", "visit:channel", ["Email"]]]]',
};

function NewGoal({ make }: { readonly make: (name: string, kind: Kind, text: string) => Promise<void> }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState<Kind>("page");
  const [text, setText] = useState("");
  return (
    <form class="panel goal-form" onSubmit={(event) => {
      event.preventDefault();
      void make(name.trim(), kind, text);
    }}>
      <div class="field">
        <label for="goal-name">Name</label>
        <input id="goal-name" required maxLength={120} value={name} onInput={(event) => setName(event.currentTarget.value)} />
      </div>
      <div class="field">
        <label for="goal-kind">Reached by</label>
        <select id="goal-kind" value={kind} onChange={(event) => setKind(event.currentTarget.value as Kind)}>
          {KINDS.map((each) => <option key={each} value={each}>{KIND_NAMES[each]}</option>)}
        </select>
      </div>
      <div class="field">
        <label for="goal-text">Which</label>
        <input id="goal-text" required aria-describedby="goal-hint" value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <p class="muted" id="goal-hint">{HINTS[kind]}</p>
      </div>
      <button type="submit" class="button primary">Add goal</button>
    </form>
  );
}
