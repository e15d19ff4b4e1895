// The chosen images: one selection for all pages of the project, with the gestures on its tiles.
//
// It holds ids, and whole scopes such as a cluster: those go to the server as they are, with the
// images that were clicked out of them. What can be done with it is in tray.js.
import { base, read } from "./api.js";
import { key } from "./keys.js";
import { _, images, ngettext } from "./language.js";
import { onRefresh } from "./refresh.js";
import { tell } from "./told.js";

const MOST_IDS = 10_000; // of these an act's body is .7 MB; more of them are a scope
const MOST_RESOLVED = 2_000; // images of a scope whose ids are asked for, to mark them anywhere
const PART = 500; // rows of one answer
const KEPT = `panoptic-chosen:${base}`;

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

class Selection {
  constructor() {
    this.listeners = new Set();
    this.resolved = new Map(); // ids of whole scopes, by their JSON
    this.counted = null; // how many chosen images a page shows that has no tiles, such as a map
    this.load();
  }

  load() {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(KEPT));
    } catch {
      // What cannot be read is nothing.
    }
    this.ids = new Set(kept?.ids || []);
    this.scopes = kept?.scopes || [];
    this.anchor = kept?.anchor || null;
    this.ranged = new Set();
  }

  onChange(listener) {
    this.listeners.add(listener);
  }

  changed() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ ids: [...this.ids], scopes: this.scopes, anchor: this.anchor }));
    } catch {
      // A browser that keeps nothing still has it on this page.
    }
    for (const { scope, total } of this.scopes) this.resolve(scope, total);
    for (const listener of this.listeners) listener();
  }

  // Ask which images a scope holds, so that they are marked on whatever page they are.
  async resolve(scope, total) {
    const name = JSON.stringify(scope);
    if (total > MOST_RESOLVED || this.resolved.has(name)) return;
    this.resolved.set(name, null);
    try {
      this.resolved.set(name, new Set(await idsOf(scope)));
      for (const listener of this.listeners) listener();
    } catch {
      this.resolved.delete(name);
    }
  }

  idsWithin({ scope }) {
    return this.resolved.get(JSON.stringify(scope)) || null;
  }

  // Whether an image is chosen; `around` is the scope of the place where it is shown.
  has(id, around = null) {
    if (this.ids.has(id)) return true;
    return this.scopes.some((one) => this.holds(one, id, around) && !one.without.includes(id));
  }

  holds(one, id, around) {
    return same(one.scope, around) || Boolean(this.idsWithin(one)?.has(id));
  }

  get size() {
    const known = this.scopes.map((one) => this.idsWithin(one));
    if (known.every(Boolean)) {
      const all = new Set(this.ids);
      this.scopes.forEach((one, n) => known[n].forEach((id) => one.without.includes(id) || all.add(id)));
      return all.size;
    }
    return this.ids.size + this.scopes.reduce((sum, one) => sum + one.total - one.without.length, 0);
  }

  get isEmpty() {
    return this.ids.size === 0 && this.scopes.length === 0;
  }

  // The first ids, to show them.
  first(n) {
    const found = new Set();
    for (const id of this.ids) {
      if (found.size === n) return [...found];
      found.add(id);
    }
    for (const one of this.scopes) {
      for (const id of this.idsWithin(one) || []) {
        if (found.size === n) return [...found];
        if (!one.without.includes(id)) found.add(id);
      }
    }
    return [...found];
  }

  put(id, chosen, around = null) {
    if (chosen) {
      for (const one of this.scopes) one.without = one.without.filter((other) => other !== id);
      if (!this.has(id, around)) this.ids.add(id);
    } else {
      this.ids.delete(id);
      for (const one of this.scopes) {
        if (this.holds(one, id, around) && !one.without.includes(id)) one.without.push(id);
      }
      this.scopes = this.scopes.filter((one) => one.without.length < one.total);
    }
  }

  // Choose an image, or leave it out again; a range begins here.
  toggle(id, around = null) {
    const chosen = !this.has(id, around);
    if (chosen && this.ids.size >= MOST_IDS) return tooMany();
    this.put(id, chosen, around);
    this.anchor = id;
    this.ranged = new Set();
    this.changed();
    return chosen;
  }

  // Choose some images as well.
  add(ids, around = null) {
    const before = this.snapshot();
    for (const id of ids) this.put(id, true, around);
    if (this.ids.size > MOST_IDS) {
      this.restore(before);
      tooMany();
      return;
    }
    this.changed();
  }

  // Choose from where the last click was to this image, in the order in which they are shown. The
  // range that the same beginning had before goes; without a beginning here, it is a click.
  range(id, shown) {
    const ids = shown.map((tile) => tile.id);
    const [from, to] = [ids.indexOf(this.anchor), ids.indexOf(id)];
    const end = shown[to];
    if (from < 0 || to < 0) {
      if (!this.has(id, end?.around)) this.toggle(id, end?.around);
      this.anchor = id;
      return;
    }
    const part = shown.slice(Math.min(from, to), Math.max(from, to) + 1);
    const wanted = new Set(part.map((tile) => tile.id));
    const before = this.snapshot();
    for (const tile of shown) if (this.ranged.has(tile.id) && !wanted.has(tile.id)) this.put(tile.id, false, tile.around);
    const fresh = part.filter((tile) => !this.has(tile.id, tile.around));
    for (const tile of part) this.put(tile.id, true, tile.around);
    if (this.ids.size > MOST_IDS) {
      this.restore(before);
      tooMany();
      return;
    }
    // Those that were chosen before stay when the range is drawn otherwise.
    this.ranged = new Set([...[...this.ranged].filter((one) => wanted.has(one)), ...fresh.map((tile) => tile.id)]);
    this.changed();
    tell(ngettext("{n} image from the last one to this one.", "{n} images from the last one to this one.", part.length), { seconds: 4 });
  }

  hasScope(scope) {
    return this.scopes.some((one) => same(one.scope, scope));
  }

  // Choose all images of a scope, whatever of it is shown; or none of them.
  //   scope: as a clustering has it; total: how many; label: what to call it.
  toggleScope(scope, total, label = "") {
    const known = this.scopes.find((one) => same(one.scope, scope));
    if (known && known.without.length === 0) {
      this.scopes = this.scopes.filter((one) => one !== known);
    } else if (known) {
      known.without = [];
    } else {
      this.scopes.push({ scope, total, label, without: [] });
    }
    this.changed();
    return this.hasScope(scope);
  }

  snapshot() {
    return structuredClone({ ids: [...this.ids], scopes: this.scopes, anchor: this.anchor });
  }

  restore({ ids, scopes, anchor }) {
    this.ids = new Set(ids);
    this.scopes = scopes;
    this.anchor = anchor;
    this.ranged = new Set();
    this.changed();
  }

  clear() {
    if (this.isEmpty) return;
    const before = this.snapshot();
    const n = this.size;
    this.restore({ ids: [], scopes: [], anchor: null });
    tell(ngettext("{n} image is not chosen any more.", "{n} images are not chosen any more.", n), { doing: [[_("Undo"), () => this.restore(before)]] });
  }

  // Take out what the server does not know any more.
  drop(id) {
    this.ids.delete(id);
    this.changed();
  }

  // What an act is about: `images`, or `scope` with what is left out of it; one for each part.
  parts() {
    const found = this.scopes.map(({ scope, without }) => ({ scope, ...(without.length ? { without } : {}) }));
    return this.ids.size ? [...found, { images: [...this.ids] }] : found;
  }

  // The ids of all of them, for what takes nothing else.
  async all() {
    const found = new Set(this.ids);
    for (const one of this.scopes) {
      for (const id of this.idsWithin(one) || (await idsOf(one.scope))) if (!one.without.includes(id)) found.add(id);
    }
    return [...found];
  }
}

const tooMany = () => tell(_("More than {n} images one by one are too many: choose all of a cluster, a folder or a search.", { n: MOST_IDS }), { wrong: true });

// Ids of the images that a scope holds now.
export async function idsOf(scope) {
  const found = [];
  for (let offset = 0; ; offset += PART) {
    const { rows, total } = await read("images", { scope: JSON.stringify(scope), offset, limit: PART });
    found.push(...rows.map((row) => row.image_id));
    if (found.length >= total || rows.length === 0) return found;
  }
}

export const selection = new Selection();

// The tiles of a page.

const scopeOf = (tile) => {
  const text = tile.closest("[data-images]")?.dataset.scope;
  return text ? JSON.parse(text) : null;
};

export const tiles = () => [...document.querySelectorAll("main [data-images] [data-id]")];

export const shownNow = () => tiles().map((tile) => ({ id: tile.dataset.id, around: scopeOf(tile) }));

// The tile that a key is about: the focused one, else the one below the pointer.
export function tileAtHand() {
  const focused = document.activeElement?.closest("[data-images] [data-id]");
  return focused || document.querySelector("[data-images] [data-id]:hover");
}

function choose(tile, event) {
  if (event.shiftKey) selection.range(tile.dataset.id, shownNow());
  else selection.toggle(tile.dataset.id, scopeOf(tile));
}

// Capturing, since the viewer opens what is clicked.
document.addEventListener(
  "click",
  (event) => {
    const tile = event.target.closest("[data-images] [data-id]");
    if (!tile) return;
    const circle = event.target.closest("button.choose");
    if (!circle && event.target.closest("button, input, summary, [contenteditable]")) return;
    if (!circle && !(event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation();
    choose(tile, event);
  },
  true,
);

// Shift is no selection of text here.
document.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target.closest("[data-images] [data-id]")) event.preventDefault();
});

const around = () => {
  const hand = tileAtHand()?.closest("[data-images]");
  return hand || document.querySelector("main [data-images]");
};

function chooseAll() {
  const container = around();
  const { scope, total, label } = container.dataset;
  if (scope === undefined) {
    selection.add([...container.querySelectorAll("[data-id]")].map((tile) => tile.dataset.id));
    return;
  }
  const asked = JSON.parse(scope);
  const n = Number(total);
  const before = selection.snapshot();
  if (!selection.hasScope(asked) || selection.scopes.find((one) => same(one.scope, asked)).without.length) selection.toggleScope(asked, n, label || "");
  tell(_("All of it is chosen: {images}.", { images: images(n) }), { doing: [[_("Undo"), () => selection.restore(before)]] });
}

key("x", _("Choose the image, or not"), () => choose(tileAtHand(), { shiftKey: false }), () => Boolean(tileAtHand()));
key("X", _("Choose from the last one to this one"), () => choose(tileAtHand(), { shiftKey: true }), () => Boolean(tileAtHand()));
key("Ctrl+A", _("Choose all, on the other pages too"), chooseAll, () => Boolean(around()) && !document.querySelector("dialog[open]"));
key("Escape", _("Choose none"), () => selection.clear(), () => !selection.isEmpty && !document.querySelector("dialog[open], :popover-open"));

// From tile to tile by arrows.
function walk(step) {
  const all = tiles();
  const here = all.indexOf(document.activeElement?.closest("[data-id]"));
  const next = all[step(all, here)];
  if (here < 0 || !next) return false;
  next.querySelector("a")?.focus();
  return true;
}

// The tile that lies nearest in the next row.
const inRow = (way) => (all, here) => {
  const { left, top } = all[here].getBoundingClientRect();
  const rows = all.map((tile, n) => ({ n, box: tile.getBoundingClientRect() })).filter(({ box }) => way * (box.top - top) > 4);
  if (!rows.length) return -1;
  const nearest = Math.min(...rows.map(({ box }) => way * (box.top - top)));
  const row = rows.filter(({ box }) => way * (box.top - top) < nearest + 4);
  return row.sort((one, other) => Math.abs(one.box.left - left) - Math.abs(other.box.left - left))[0].n;
};

const onTile = () => Boolean(document.activeElement?.closest("main [data-images] [data-id]"));
key("ArrowLeft", _("The image before"), () => walk((all, here) => here - 1), onTile);
key("ArrowRight", _("The next image"), () => walk((all, here) => here + 1), onTile);
key("ArrowUp", _("The image above"), () => walk(inRow(-1)), onTile);
key("ArrowDown", _("The image below"), () => walk(inRow(1)), onTile);

function mark() {
  for (const tile of document.querySelectorAll("[data-images] [data-id]")) {
    const chosen = selection.has(tile.dataset.id, scopeOf(tile));
    if (chosen) tile.dataset.chosen = "";
    else delete tile.dataset.chosen;
    tile.querySelector("button.choose")?.setAttribute("aria-pressed", String(chosen));
  }
  document.body.classList.toggle("choosing", !selection.isEmpty);
  for (const heading of document.querySelectorAll("[data-choose-scope]")) {
    heading.setAttribute("aria-pressed", String(selection.hasScope(JSON.parse(heading.dataset.chooseScope))));
  }
}

// A circle on a heading chooses all of a scope: `data-choose-scope`, `data-total`, `data-label`.
// With Shift, also the headings between it and the last one.
let lastHeading = null;
document.addEventListener("click", (event) => {
  const heading = event.target.closest("[data-choose-scope]");
  if (!heading) return;
  const all = [...document.querySelectorAll("[data-choose-scope]")];
  const toggle = (one) => selection.toggleScope(JSON.parse(one.dataset.chooseScope), Number(one.dataset.total), one.dataset.label || "");
  const from = all.indexOf(lastHeading);
  if (event.shiftKey && from >= 0) {
    const to = all.indexOf(heading);
    for (const one of all.slice(Math.min(from, to), Math.max(from, to) + 1)) {
      if (!selection.hasScope(JSON.parse(one.dataset.chooseScope))) toggle(one);
    }
  } else {
    toggle(heading);
  }
  lastHeading = heading;
});

selection.onChange(mark);
onRefresh(() => {
  selection.resolved.clear();
  selection.changed();
});
// Another page of the project, in this tab, may have changed it meanwhile.
addEventListener("pageshow", () => {
  selection.load();
  selection.changed();
});
selection.changed();
