// Acts: each is posted to the API, goes on as a Dagster run, and can be cancelled and undone.
import { base, isReadOnly, post, read, Refusal } from "./api.js";
import { focusNear, placeOf } from "./dom.js";
import { _ } from "./language.js";
import { refresh } from "./refresh.js";
import { ongoing, refused, tell } from "./told.js";

// What of the page an act rests on: it is refused if that has changed meanwhile.
// It is that of the place where it was asked for (`from`), such as the viewer's information.
function seenOf(subjects, from) {
  const place = from?.closest("[data-seen]") || document.getElementById("content");
  const all = JSON.parse(place.dataset.seen || "{}");
  const names = subjects === undefined ? [] : subjects;
  return Object.fromEntries(names.filter((name) => Object.hasOwn(all, name)).map((name) => [name, all[name]]));
}

const NAMES = {
  backfill: () => _("Applying refresh policies"),
  cluster: () => _("Clustering"),
  compare: () => _("Comparing"),
  divide: () => _("Dividing"),
  edit: () => _("Changing tags"),
  label: () => _("Naming the clusters"),
  name: () => _("Naming the cluster"),
  policy: () => _("Choosing the policy"),
  project: () => _("Computing the map"),
  recommend: () => _("Looking for images that fit the tags"),
  "leave-out": () => _("Clustering without some images"),
  "move-tag": () => _("Moving to another tag"),
  redo: () => _("Doing it again"),
  refresh: () => _("Reading what is new"),
  remove: () => _("Removing"),
  remark: () => _("Keeping the remark"),
  report: () => _("Writing the report"),
  save: () => _("Saving as tags"),
  tag: () => _("Giving the tag"),
  undo: () => _("Undoing"),
  untag: () => _("Taking the tag away"),
  verify: () => _("Computing again, to compare"),
};

// Where one sees what an act made.
const PLACES = {
  cluster: (result) => result?.key && `runs/${result.key}`,
  divide: (result) => result?.key && `clusters/${result.key}`,
  label: (result) => result?.length && `runs/${result[0].node.split("/")[0]}`,
};

export const nameOf = (act) => (NAMES[act] || (() => act))();

const followed = new Set();

// What this person did on the page before may go on here, which shows what was before it: nothing
// that is done here must be refused for that, so it waits until the page has caught up.
const SECONDS_TO_CATCH_UP = 5; // what takes longer is a clustering or the like, and is not waited for
const SECONDS_TO_READ = 30; // notes are longer than "Done."
const JUST_NOW = 10_000; // milliseconds in which a page is made and loaded
let caughtUp = Promise.resolve();

// The id of an act is given here, so that it can be stopped while the request for it is not answered,
// since the worker is busy.
const newId = () => [...crypto.getRandomValues(new Uint8Array(8))].map((one) => one.toString(16).padStart(2, "0")).join("");

const lineOf = (what, id) => ongoing(what, () => post(`acts/${id}/cancel`, {}));

// The names of the acts that go on, for styles: what a page invites to then, it need not invite to.
const goingOn = [];

function showGoingOn(name, does) {
  if (does) goingOn.push(name);
  else goingOn.splice(goingOn.indexOf(name), 1);
  document.documentElement.dataset.goesOn = goingOn.join(" ");
}

// Wait for the end of an act that goes on; resolves with what its end says.
function follow(started, line) {
  followed.add(started.act);
  showGoingOn(started.name, true);
  return new Promise((done, failed) => {
    const stream = new EventSource(started.events);
    let unsaid = () => {}; // takes back that the server does not answer
    const end = () => {
      stream.close();
      line.end();
      showGoingOn(started.name, false);
      unsaid();
    };
    stream.addEventListener("open", () => unsaid());
    stream.addEventListener("progress", (event) => {
      const said = JSON.parse(event.data);
      line.progress(_(said.what), said.done, said.total);
    });
    stream.addEventListener("done", (event) => {
      end();
      done(JSON.parse(event.data));
    });
    stream.addEventListener("failed", (event) => {
      end();
      failed(new Refusal(JSON.parse(event.data).error, 422));
    });
    stream.addEventListener("error", async () => {
      const isOver = stream.readyState === EventSource.CLOSED;
      if (isOver) end();
      const now = await read(`acts/${started.act}`).catch((error) => ({ error }));
      if (!isOver) {
        // It tries again by itself; meanwhile somebody must know why nothing happens.
        if (now.error?.id === "no-server" && stream.readyState === EventSource.CONNECTING) {
          unsaid();
          unsaid = refused(now.error);
        }
      } else if (now.state === "done") done(now);
      else if (now.error && now.error.id !== "no-ongoing-act") failed(now.error instanceof Refusal ? now.error : new Refusal(now.error, 0));
      else failed(new Refusal({ id: "act-lost", text: _("Nobody knows what became of the act: look whether it was done.") }, 0)); // the server is another one
    });
  });
}

// Ask for an act, and wait for its end. Its line is there before the answer, for which a busy worker
// is waited.
async function carriedOut(name, body, what = nameOf(name)) {
  let started = null;
  const id = newId();
  const line = lineOf(what, id);
  try {
    started = await post(`acts/${name}`, body, { "Panoptic-Act": id });
  } catch (error) {
    line.end();
    throw error;
  }
  if (["preparing", "running"].includes(started.state)) return follow(started, line);
  line.end(); // it was over when it was answered
  if (started.state !== "done") throw new Refusal(started.error, 0);
  return started;
}

// Do something. Resolves with the act's result, or with null where it was refused, which is told.
//   subjects: names of what it rests on (see `seen`); said(result): what to tell when it is done;
//   what: what it is called meanwhile; stays: whether the page shows it already;
//   after(result): what to do once the page shows it; from: the element that it was asked for with;
//   undone: a list that gets the ids by which it is undone, where the caller tells of several acts
//   at once (`silent`); notes: one that gets what must be known of each, told with the last; onRefused(error): what to do, too, where it was refused;
//   true: it was told there.
export async function act(name, body = {}, { subjects, said, what, stays = false, after, silent = false, from, undone, notes = [], onRefused } = {}) {
  if (isReadOnly) {
    tell(_("This server is read-only: everything can be looked at and nothing changed."), { wrong: true });
    return null;
  }
  try {
    waiting += 1;
    await caughtUp.finally(() => (waiting -= 1));
    const { result, undo = [] } = await carriedOut(name, { ...body, seen: seenOf(subjects, from) }, what);
    undone?.push(...undo);
    notes.push(...notesOf(result));
    if (!stays) await refresh();
    if (!silent) {
      const text = typeof said === "function" ? said(result) : said || _("Done.");
      tellWith(notes, text, undo.length ? [[_("Undo"), () => takeBack(undo)]] : []);
    }
    after?.(result);
    return result ?? {};
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (onRefused?.(error) !== true) refused(error);
    if (error.id === "changed-meanwhile") refresh();
    return null;
  }
}

// Undo what an act has done, the last of it first.
export async function takeBack(ids) {
  const notes = [];
  for (const id of [...ids].reverse()) {
    if ((await act("undo", { act: id }, { said: _("Undone."), silent: id !== ids[0], notes })) === null) return;
  }
}

// What an act's answer says that a person must know, as of tags that got a number by an undo.
const notesOf = (result) => [result].flat().flatMap((one) => one?.notes ?? []);

const tellWith = (notes, text, doing) => tell([text, ...notes].join(" "), { doing, seconds: notes.length ? SECONDS_TO_READ : undefined });

export const undoLast = () => act("undo", {}, { said: (done) => _("Undone: {change}", { change: done?.change || "" }) });
export const redoLast = () => act("redo", {}, { said: (done) => _("Done again: {change}", { change: done?.change || "" }) });

// Those that go on from another page, or from before this one was loaded.
export function followOthers() {
  const tooLong = new Promise((done) => setTimeout(done, 1000 * SECONDS_TO_CATCH_UP));
  const all = followNow().catch(() => {});
  caughtUp = Promise.race([all, tooLong]);
  return all;
}

async function followNow() {
  const { rows, now } = await read("acts");
  const mine = [];
  const { author } = document.documentElement.dataset;
  for (const other of rows) {
    if (followed.has(other.act)) continue;
    const isMine = other.author === author;
    const goesOn = ["preparing", "running"].includes(other.state);
    if (goesOn) {
      const end = toItsEnd(other, isMine);
      if (isMine) mine.push(end);
    } else if (isMine && Date.parse(now) - Date.parse(other.ended_at) < JUST_NOW) mine.push(refresh());
  }
  await Promise.all(mine);
}

async function toItsEnd(other, isMine) {
  try {
    const { result, undo = [] } = await follow(other, lineOf(isMine ? nameOf(other.name) : `${nameOf(other.name)} (${other.author})`, other.act));
    await refresh();
    const place = PLACES[other.name]?.(result);
    const doing = place ? [[_("Look at it"), () => (location.href = `${base}/${encodeURI(place)}`)]] : [];
    if (isMine && undo.length) doing.push([_("Undo"), () => takeBack(undo)]);
    tellWith(notesOf(result), _("{act}: done.", { act: nameOf(other.name) }), doing);
  } catch (error) {
    refused(error);
  }
}

function put(body, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let inner = body;
  for (const name of names) inner = inner[name] ??= {};
  inner[last] = value;
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  if (field.type === "number") return field.value === "" ? undefined : Number(field.value);
  if (field.hasAttribute("data-json")) return field.value === "" ? undefined : JSON.parse(field.value);
  return field.value === "" && field.dataset.empty !== "kept" ? undefined : field.value;
}

// The body that a form asks for: what `data-body` holds, and each field at the path of its name.
export function bodyOf(form, submitter) {
  const body = structuredClone(JSON.parse(form.dataset.body || "{}"));
  for (const field of [...form.elements, submitter]) {
    if (!field?.name || field.disabled || (field.type === "radio" && !field.checked)) continue;
    if (field.type === "submit" && field !== submitter) continue;
    const value = field.type === "submit" ? JSON.parse(field.value) : valueOf(field);
    if (value !== undefined) put(body, field.name, value);
  }
  return body;
}

const subjectsOf = (from) => (from.dataset.subjects ? from.dataset.subjects.split("\n") : undefined);

// A page may tell a refusal where it belongs: it hears `act-refused`, and prevents what is usual.
const told = (from, error) => !from.dispatchEvent(new CustomEvent("act-refused", { bubbles: true, cancelable: true, detail: error }));

// Any form with `data-act` acts, and any button with it; `data-said` is told at the end.
//   data-confirm: what is asked before; data-go: the address that is shown after, with {key} of the
//   result.
async function actOf(from, body) {
  if (from.dataset.confirm && !confirm(from.dataset.confirm)) return;
  const place = placeOf(from.contains(document.activeElement) ? document.activeElement : null);
  const buttons = from.localName === "form" ? [...from.querySelectorAll("button")] : [from];
  buttons.forEach((button) => (button.disabled = true));
  from.setAttribute("aria-busy", "true");
  try {
    const go = from.dataset.go;
    const done = await act(from.dataset.act, body, { subjects: subjectsOf(from), said: from.dataset.said, stays: Boolean(go), from, onRefused: (error) => told(from, error) });
    if (done !== null && go) location.href = go.replace("{key}", encodeURI(done.key || ""));
    if (done !== null) close(from.closest("dialog:not([data-stays]), [popover]"));
  } finally {
    from.removeAttribute("aria-busy");
    buttons.forEach((button) => (button.disabled = false));
    focusNear(place); // which a button that is disabled loses
  }
}

function close(around) {
  if (around?.localName === "dialog") around.close();
  else around?.hidePopover();
}

// Who corrects at once what was just sent is not refused for it: it waits until the page has shown it.
const going = new WeakMap();
let waiting = 0; // for their turn

addEventListener("beforeunload", (event) => {
  if (waiting) event.preventDefault();
});

function inTurn(form, does) {
  waiting += 1;
  const turn = (going.get(form) ?? Promise.resolve()).then(() => ((waiting -= 1), does()));
  going.set(form, turn.catch(() => {}));
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-act]");
  if (!form) return;
  event.preventDefault();
  const body = bodyOf(form, event.submitter);
  inTurn(form, () => actOf(form, body));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button && !button.closest("form[data-act]")) actOf(button, JSON.parse(button.dataset.body || "{}"));
});

