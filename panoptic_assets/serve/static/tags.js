// Tags: renaming in place, choosing several, merging, moving, colours, remarks.
import { act } from "./acts.js";
import { base, isReadOnly, read } from "./api.js";
import { element } from "./dom.js";
import { edit } from "./edits.js";
import { key } from "./keys.js";
import { _, ngettext } from "./language.js";
import { onRefresh, refresh } from "./refresh.js";
import { tell } from "./told.js";

const MOST_SUGGESTED = 2000; // tags in the list of a field
const PART = 500; // rows of one answer

const tree = () => document.getElementById("tag-tree");
const menu = () => document.getElementById("tag-menu");
const propertyNow = () => document.getElementById("tags-of")?.dataset.property || "";
const tagOf = (node) => node?.closest?.("[data-tag]") || null;
const byId = (id) => document.querySelector(`main [data-tag="${CSS.escape(id)}"]`);
const nameOf = (tag) => tag.querySelector(".tag-name"); // its own comes before those below it
const listed = () => [...document.querySelectorAll("#tag-tree [data-tag]")];
const visible = () => listed().filter((tag) => tag.offsetParent !== null);

// The tag that a key is about: the one in focus, else the one below the pointer.
function atHand() {
  const hovered = document.querySelector("[data-tag] > .row:hover, .one-tag:hover, .tag-cards > li:hover");
  return tagOf(document.activeElement) || tagOf(hovered);
}

function change(edits, options) {
  const property = propertyNow();
  const whole = edits.map((one) => Object.fromEntries(Object.entries(one).map(([kind, fields]) => [kind, { ...fields, property }])));
  return edit(property, whole, options);
}

// Renaming.

function rename(tag) {
  const cell = tag?.querySelector(".name-cell");
  if (!cell || cell.querySelector("input")) return;
  const button = cell.querySelector("button");
  const before = tag.dataset.name;
  const field = element("input", { class: "renaming", autocomplete: "off", spellcheck: "false", "aria-label": _("New name of {name}", { name: before }) });
  field.value = before;
  let over = false;
  const end = (returns) => {
    if (over) return;
    over = true;
    field.remove();
    button.hidden = false;
    delete cell.dataset.kept;
    if (returns) button.focus();
  };
  const keep = (returns) => {
    const name = field.value.trim();
    const changed = !over && name && name !== before;
    end(returns);
    if (!changed) return;
    button.querySelector("bdi").textContent = name; // at once; a refusal shows the old one again
    tag.dataset.name = name;
    change([{ rename: { tag: tag.dataset.tag, to: name } }], { said: _("“{before}” is now called “{name}”.", { before, name }) });
  };
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") keep(true);
    else if (event.key === "Escape") end(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  // Elsewhere in the page, not when another window comes to the front.
  field.addEventListener("blur", () => document.hasFocus() && keep(false));
  cell.dataset.kept = ""; // the page may be shown anew meanwhile
  button.hidden = true;
  cell.append(field);
  field.focus();
  field.select();
}

// Choosing several.

let chosen = []; // ids, in the order in which they were chosen: the first one stays in a merge
let anchor = null;

function choose(tag, { range = false } = {}) {
  const id = tag.dataset.tag;
  const all = visible().map((one) => one.dataset.tag);
  if (range && all.includes(anchor)) {
    const [from, to] = [all.indexOf(anchor), all.indexOf(id)].sort((a, b) => a - b);
    chosen.push(...all.slice(from, to + 1).filter((one) => !chosen.includes(one)));
  } else {
    chosen = chosen.includes(id) ? chosen.filter((one) => one !== id) : [...chosen, id];
    anchor = id;
  }
  showChosen();
}

function chooseNone() {
  chosen = [];
  showChosen();
}

function showChosen() {
  if (isReadOnly) return;
  chosen = chosen.filter(byId);
  for (const tag of listed()) {
    const isChosen = chosen.includes(tag.dataset.tag);
    tag.toggleAttribute("data-picked", isChosen);
    const box = tag.querySelector(".pick");
    if (box) box.checked = isChosen;
  }
  const bar = document.getElementById("picked");
  if (!bar) return;
  bar.hidden = chosen.length === 0;
  if (bar.dataset.of === chosen.join()) return;
  bar.dataset.of = chosen.join();
  const into = element("select", { "aria-label": _("The tag that stays") }, ...chosen.map((id) => element("option", { value: id }, byId(id).dataset.path)));
  const merging =
    chosen.length > 1
      ? [element("button", { type: "button", class: "main", title: _("Merge (m)"), onclick: () => merge(chosen, into.value) }, _("Merge")), element("label", {}, _("into"), " ", into)]
      : [];
  bar.replaceChildren(
    element("strong", {}, ngettext("{n} tag chosen", "{n} tags chosen", chosen.length)),
    ...merging,
    element("button", { type: "button", onclick: () => askPlace("move", chosen) }, _("Move below…")),
    element("button", { type: "button", class: "danger", onclick: () => remove(chosen) }, _("Delete")),
    element("button", { type: "button", onclick: chooseNone }, _("Choose none")),
  );
}

// What a gesture on a tag is about: all chosen ones if it is one of them.
const targetsOf = (tag) => (chosen.length > 1 && chosen.includes(tag.dataset.tag) ? [...chosen] : [tag.dataset.tag]);

// Without those that lie below another one of them, which take part with it.
function topmost(ids) {
  const isBelow = (id) => {
    for (let up = byId(id)?.dataset.parent; up; up = byId(up)?.dataset.parent) if (ids.includes(up)) return true;
    return false;
  };
  return ids.filter((id) => !isBelow(id));
}

const called = (id) => byId(id)?.dataset.name || id;

function focusName(id) {
  const tag = byId(id);
  if (tag) nameOf(tag)?.focus();
}

// Where the focus goes when some tags are gone.
function neighbour(ids) {
  const gone = (tag) => ids.some((id) => tag.closest(`[data-tag="${CSS.escape(id)}"]`));
  const all = visible();
  const place = all.findIndex(gone);
  const rest = [...all.slice(place).filter((tag) => !gone(tag)), ...all.slice(0, Math.max(place, 0)).reverse()];
  return rest[0]?.dataset.tag || "";
}

// Acts.

function merge(ids, into) {
  const others = ids.filter((id) => id !== into);
  const said = ngettext("{n} tag was merged into “{name}”.", "{n} tags were merged into “{name}”.", others.length, { name: called(into) });
  chooseNone();
  change([{ merge: { tags: ids, into } }], { said, after: () => focusName(into) });
}

function move(ids, under) {
  const moved = topmost(ids).filter((id) => id !== under);
  if (!moved.length) {
    tell(_("A tag cannot be moved below itself."), { wrong: true });
    return;
  }
  const said = ngettext("{n} tag was moved.", "{n} tags were moved.", moved.length);
  change(moved.map((id) => ({ move: { tag: id, under } })), { said, after: () => focusName(moved[0]) });
}

function remove(ids) {
  const gone = topmost([...ids]);
  const next = neighbour(gone);
  const said = gone.length === 1 ? _("“{name}” was deleted.", { name: called(gone[0]) }) : ngettext("{n} tag was deleted.", "{n} tags were deleted.", gone.length);
  chooseNone();
  change(gone.map((id) => ({ delete: { tag: id } })), { said, after: () => focusName(next) });
}

function colour(tag, value) {
  const edits = targetsOf(tag).map((id) => ({ recolour: { tag: id, colour: value } }));
  change(edits, { said: value ? _("The colour was changed.") : _("The colour was taken away.") });
}

// Dialogs: each resolves with its form's values, or null.
function ask(id, about, fill) {
  const dialog = document.getElementById(id);
  const form = dialog.querySelector("form");
  form.reset();
  dialog.querySelector(".of bdi").textContent = about;
  fill?.(form, dialog);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "do" ? Object.fromEntries(new FormData(form)) : null), { once: true });
  });
}

let suggested = new Map(); // tags by path; null where several have the same one

async function suggest() {
  const rows = [];
  try {
    for (let total = 1; rows.length < Math.min(total, MOST_SUGGESTED); ) {
      const part = await read("tags", { property: propertyNow(), offset: rows.length, limit: PART });
      rows.push(...part.rows);
      total = part.rows.length ? part.total : 0;
    }
  } catch {
    // Without the list, a path can be typed.
  }
  suggested = new Map();
  for (const row of rows) suggested.set(row.path, suggested.has(row.path) ? null : row.tag_id);
  document.getElementById("all-tags").replaceChildren(...[...suggested.keys()].map((path) => element("option", { value: path })));
}

async function askPlace(what, ids) {
  suggest();
  const about = ids.map(called).join(", ");
  const given = await ask("place-dialog", about, (form, dialog) => {
    dialog.querySelector("h2").textContent = what === "move" ? dialog.dataset.titleMove : dialog.dataset.titleMerge;
    for (const part of dialog.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== what;
    form.elements.place.required = what === "merge";
  });
  if (given === null) return;
  const path = given.place.trim();
  const place = suggested.get(path) || path;
  if (what === "merge") merge([...ids, place], place);
  else move(ids, place);
}

async function askNew(below) {
  const above = below ? below.dataset.path : "";
  const given = await ask("create-dialog", above ? _("below {path}", { path: above }) : propertyNow());
  const name = given?.name.trim();
  if (!name) return;
  const path = above ? `${above} > ${name}` : name;
  const show = () => {
    const made = listed().find((tag) => tag.dataset.path === path) || [...document.querySelectorAll("[data-path]")].find((tag) => tag.dataset.path === path);
    if (made) nameOf(made)?.focus();
  };
  change([{ create: { tag: path } }], { said: _("The tag “{name}” was made.", { name: path }), after: show });
}

async function askRemark(tag) {
  const subject = `tag:${tag.dataset.tag}`;
  const given = await ask("remark-dialog", tag.dataset.path, (form) => (form.elements.text.value = tag.dataset.remark || ""));
  if (given === null || given.text.trim() === (tag.dataset.remark || "")) return;
  act("remark", { subject, text: given.text.trim() }, { subjects: [`remark:${subject}`], said: _("The remark is kept.") });
}

const address = (tag) => `${base}/tags/${encodeURIComponent(tag.dataset.tag)}`;
const DOES = {
  open: (tag) => (location.href = address(tag)),
  rename,
  create: askNew,
  move: (tag) => askPlace("move", targetsOf(tag)),
  merge: (tag) => askPlace("merge", targetsOf(tag)),
  remark: askRemark,
  delete: (tag) => remove(targetsOf(tag)),
};

// The menu, one for all tags.

let ofMenu = null;

function openMenu(tag, button) {
  ofMenu = tag;
  const card = menu();
  card.querySelector(".of bdi").textContent = tag.dataset.path;
  const scope = { tag: { property: propertyNow(), path: tag.dataset.path } };
  card.querySelector("a[data-does='cluster']").href = `${base}/new?scope=${encodeURIComponent(JSON.stringify(scope))}`;
  for (const one of card.querySelectorAll("[data-colour]")) one.setAttribute("aria-pressed", String(one.dataset.colour === (tag.dataset.colour || "")));
  const other = card.querySelector("input[type='color']");
  other.value = tag.dataset.colour || "#888888";
  card.showPopover();
  // Beside its button, and within the window.
  const [at, size] = [button.getBoundingClientRect(), card.getBoundingClientRect()];
  card.style.left = `${Math.max(8, Math.min(at.right - size.width, innerWidth - size.width - 8))}px`;
  card.style.top = `${Math.max(8, Math.min(at.bottom + 4, innerHeight - size.height - 8))}px`;
  card.querySelector("button").focus();
  card.addEventListener("toggle", () => document.activeElement === document.body && tag.isConnected && button.focus(), { once: true });
}

// A tag that was shown anew meanwhile is still the same one.
const meant = () => byId(ofMenu.dataset.tag) || ofMenu;

document.addEventListener("click", (event) => {
  const does = event.target.closest("#tag-menu button");
  if (does) {
    menu().hidePopover();
    if (does.dataset.does) DOES[does.dataset.does](meant());
    else colour(meant(), does.dataset.colour);
    return;
  }
  if (event.target.closest("#new-tag")) return void askNew(null);
  if (event.target.closest("#fold-all")) return fold(listed(), true);
  if (event.target.closest("#unfold-all")) return fold(listed(), false);
  const whole = event.target.closest("#delete-property");
  if (whole) return void change(JSON.parse(whole.dataset.roots).map((id) => ({ delete: { tag: id } })), { said: _("The tags of “{property}” were deleted.", { property: propertyNow() }) });
  const tag = tagOf(event.target);
  if (!tag) return;
  const part = (selector) => event.target.closest(selector);
  if (part(".more")) openMenu(tag, part(".more"));
  else if (part("button.fold")) fold([tag], !folded.has(tag.dataset.tag));
  else if (part(".pick")) choose(tag, { range: event.shiftKey });
  else if (tree()?.contains(tag) && !isReadOnly && (event.ctrlKey || event.metaKey || event.shiftKey) && !part("a")) {
    event.preventDefault();
    choose(tag, { range: event.shiftKey });
  } else if (part("button.tag-name")) rename(tag);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("#tag-menu input[type='color']")) {
    menu().hidePopover();
    colour(meant(), event.target.value);
  }
});

// Shift is no selection of text here.
document.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target.closest("#tag-tree .row")) event.preventDefault();
});

document.addEventListener("submit", async (event) => {
  if (event.target.id === "filter") {
    event.preventDefault();
    filter();
  }
  if (event.target.id !== "make-property") return;
  event.preventDefault();
  const form = event.target;
  const { property, tag } = Object.fromEntries(new FormData(form));
  const made = await act("edit", { edits: [{ create: { tag, property } }] }, { stays: true, silent: true });
  if (made !== null) location.href = `${form.dataset.at}?property=${encodeURIComponent(property)}`;
});

// Folding.

const folded = new Set();

function fold(tags, isFolded) {
  for (const tag of tags) {
    if (!tag.querySelector("ul")) continue;
    if (isFolded) folded.add(tag.dataset.tag);
    else folded.delete(tag.dataset.tag);
  }
  showFolded();
}

function showFolded() {
  for (const tag of listed()) {
    const isFolded = folded.has(tag.dataset.tag);
    tag.toggleAttribute("data-folded", isFolded);
    tag.querySelector(":scope > .row > button.fold")?.setAttribute("aria-expanded", String(!isFolded));
  }
}

// Filtering as one types; the address holds it.

let typed;
document.addEventListener("input", (event) => {
  if (event.target.id !== "filter-text") return;
  clearTimeout(typed);
  typed = setTimeout(filter, 200);
});

function filter() {
  clearTimeout(typed);
  const there = new URL(location.href);
  const text = document.getElementById("filter-text").value.trim();
  if (text) there.searchParams.set("filter", text);
  else there.searchParams.delete("filter");
  if (there.href === location.href) return;
  history.replaceState(history.state, "", there);
  refresh();
}

// Dragging: onto another tag, or to the top.

let dragged = [];
const over = (target) => {
  document.querySelectorAll("[data-over]").forEach((old) => old !== target && old.removeAttribute("data-over"));
  target?.setAttribute("data-over", "");
};

document.addEventListener("dragstart", (event) => {
  const row = event.target.closest?.("#tag-tree .row");
  if (!row) return;
  const tag = tagOf(row);
  dragged = targetsOf(tag);
  event.dataTransfer.setData("text/plain", dragged.map(called).join("\n"));
  event.dataTransfer.effectAllowed = "move";
  // Not at once: a browser ends the drag of what moves below the pointer as it begins.
  setTimeout(() => (document.getElementById("to-top").hidden = dragged.length === 0));
});

function dropPlace(event) {
  if (!dragged.length || !event.target.closest) return null;
  const top = event.target.closest("#to-top");
  if (top) return { mark: top, under: "" };
  const row = event.target.closest("#tag-tree .row");
  const inside = row && dragged.some((id) => row.closest(`[data-tag="${CSS.escape(id)}"]`));
  return row && !inside ? { mark: row, under: tagOf(row).dataset.tag } : null;
}

document.addEventListener("dragover", (event) => {
  const place = dropPlace(event);
  over(place?.mark);
  if (!place) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "move";
});

document.addEventListener("drop", (event) => {
  const place = dropPlace(event);
  if (!place) return;
  event.preventDefault();
  const ids = dragged;
  endDrag();
  move(ids, place.under);
});

function endDrag() {
  dragged = [];
  over(null);
  const top = document.getElementById("to-top");
  if (top) top.hidden = true;
}
document.addEventListener("dragend", endDrag);

// Keys.

const inTree = () => Boolean(tree()?.contains(document.activeElement));
const step = (way) => {
  const all = visible();
  const next = all[all.indexOf(tagOf(document.activeElement)) + way];
  if (next) nameOf(next)?.focus();
};

if (!isReadOnly) {
  key("F2", _("Rename the tag"), () => rename(atHand()), () => Boolean(atHand()));
  key("n", _("New tag"), () => askNew(null), () => Boolean(document.getElementById("new-tag")));
  key(" ", _("Choose the tag, or not"), () => choose(tagOf(document.activeElement)), () => inTree() && document.activeElement.matches(".tag-name"));
  key("m", _("Merge the chosen tags"), () => merge(chosen, document.querySelector("#picked select").value), () => chosen.length > 1);
  key("Delete", _("Delete the tag, or the chosen ones"), () => remove(chosen.length ? chosen : [atHand().dataset.tag]), () => chosen.length > 0 || Boolean(atHand()));
  key("Escape", _("Choose no tag"), chooseNone, () => chosen.length > 0);
  // A button is pressed by the key that goes up.
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.matches?.("#tag-tree .tag-name")) event.preventDefault();
  });
}
key("o", _("Open the images of the tag"), () => DOES.open(atHand()), () => Boolean(tree() && atHand()));
key("ArrowDown", _("Next tag"), () => step(1), inTree);
key("ArrowUp", _("Tag before"), () => step(-1), inTree);
key("ArrowLeft", _("Fold"), () => fold([tagOf(document.activeElement)], true), inTree);
key("ArrowRight", _("Unfold"), () => fold([tagOf(document.activeElement)], false), inTree);

onRefresh(() => {
  showFolded();
  showChosen();
});
