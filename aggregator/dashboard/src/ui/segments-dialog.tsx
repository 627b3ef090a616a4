/** Filters under a name: to save those of the moment, and to delete others. Loaded when somebody opens it. */
import { useState } from "preact/hooks";
import * as api from "../api";
import { SEGMENT } from "../dimensions";
import { toApi } from "../filters";
import { chooseFilters } from "../navigate";
import { loadSegments, segments, segmentsOpen, site, view } from "../state";
import { Dialog } from "./dialog";

export default function SegmentsDialog() {
  const [name, setName] = useState("");
  const [said, setSaid] = useState("");
  const { filters } = view.value;
  const current = site.value;
  if (!current) return null;
  const close = () => (segmentsOpen.value = false);
  const act = async (work: () => Promise<unknown>) => {
    try {
      await work();
      await loadSegments();
    } catch (error) {
      setSaid(error instanceof Error ? error.message : String(error));
    }
  };
  const save = (event: Event) => {
    event.preventDefault();
    void act(async () => {
      const made = await api.createSegment(current.id, name.trim(), toApi(filters));
      await loadSegments();
      close();
      chooseFilters([{ operator: "is", dimension: SEGMENT, values: [String(made.id)] }]);
    });
  };
  const remove = (id: number) => act(async () => {
    await api.deleteSegment(current.id, id);
    const left = filters.filter(({ dimension, values }) => dimension !== SEGMENT || !values.includes(String(id)));
    if (left.length < filters.length) chooseFilters(left);
  });
  // A segment may be made of filters, not of segments.
  const canSave = filters.length > 0 && filters.every(({ dimension }) => dimension !== SEGMENT);
  return (
    <Dialog title="Segments" close={close}>
      {canSave && (
        <form class="range" onSubmit={save}>
          <label>Name for these filters
            <input required autoFocus maxLength={120} value={name} placeholder="Phones in Germany" onInput={({ currentTarget: { value } }) => setName(value)} />
          </label>
          <button type="submit" class="button primary">Save</button>
        </form>
      )}
      <p class="rules-said" role="status">{said}</p>
      {segments.value.length === 0 ? <p class="muted">None is saved yet. Set filters, and save them here under a name.</p> : (
        <ul class="segment-list">
          {segments.value.map((each) => (
            <li key={each.id}>
              <span>{each.name}</span>
              <button type="button" class="button" aria-label={`Delete ${each.name}`} onClick={() => void remove(each.id)}>Delete</button>
            </li>
          ))}
        </ul>
      )}
    </Dialog>
  );
}
