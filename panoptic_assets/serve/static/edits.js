// Edits of tags, one act after the other: each rests on what the one before it left.
import { act } from "./acts.js";
import { ngettext } from "./language.js";
import { refresh } from "./refresh.js";

const waiting = [];
let going = false;

// Change tags of a property. Resolves with whether that was done, once the page shows it.
//   edits: as `tags.edits` has them; said: what to tell then; after(): what to do then;
//   together: whether it may be done in one act with others like it that wait as well.
export function edit(property, edits, { said, after, together = false } = {}) {
  return new Promise((done) => {
    waiting.push({ property, edits, said, after, together, done });
    if (!going) carryOut();
  });
}

function next() {
  const batch = [waiting.shift()];
  const [{ property, together }] = batch;
  while (together && waiting[0]?.together && waiting[0].property === property) batch.push(waiting.shift());
  return batch;
}

async function carryOut() {
  going = true;
  try {
    while (waiting.length) {
      const batch = next();
      const [{ property }] = batch;
      const said = batch.length === 1 ? batch[0].said : ngettext("{n} change was made.", "{n} changes were made.", batch.length);
      const edits = batch.flatMap((one) => one.edits);
      const result = await act("edit", { edits }, { subjects: [`property:${property}`], said }).catch(() => null);
      if (result === null) await refresh(); // so that the page shows what is, not what was wished
      for (const one of batch) {
        if (result !== null) one.after?.();
        one.done(result !== null);
      }
    }
  } finally {
    going = false;
  }
}

// What was sent goes on without this page; what still waits would be lost with it.
addEventListener("beforeunload", (event) => {
  if (waiting.length) event.preventDefault();
});
