// The viewer: an image at the size of the window, over the page from which it was opened.
//
// It is no modal dialog, which would lie over the notices and the tray: what is behind it is inert.
import { base, preview, read, thumbnail } from "./api.js";
import { element } from "./dom.js";
import { key } from "./keys.js";
import { _, number, ngettext } from "./language.js";
import { onRefresh } from "./refresh.js";
import { selection } from "./selection.js";

const SIDES = [512, 1024, 2048];
const MOST_TOGETHER = 4;
const STEP = 1.25; // of the zoom, by a key
const CLOSEST = 32; // pixels of the screen for one of the image
const ENLARGED = 3; // as many, where a small image is seen as a whole
const BEHIND = ["header.site", "header.where", "main", "footer"];
const PANEL = `panoptic-information:${base}`;

let order = []; // ids, in the order of the page
let pages = { prev: null, next: null }; // addresses of the pages that hold what comes before and after
let counted = null; // of a place that says it: how many images there are, and how many come before these
let place = 0;
let together = false; // whether some are shown side by side
let view = { zoom: 1, x: 0.5, y: 0.5 }; // zoom 1 fits; x, y: which point of the image is in the middle
let before = null; // where the focus was
let pushed = false; // whether going back closes it
let told = 0; // of the newest question for information

const sizes = new Map(); // what the server knows of an image: width and height
const names = new Map(); // what tiles call images

const stage = element("div", { class: "stage", tabindex: "0", role: "group", "aria-label": _("The image; arrows show the one before and the next, + and − enlarge it") });
const caption = element("p", { class: "caption", role: "status" });
const panel = element("aside", { class: "information", "aria-label": _("About the image"), hidden: true });
const tool = (what, sign, does, extra = {}) => element("button", { type: "button", class: "tool", "aria-label": what, title: what, onclick: does, ...extra }, sign);
const circle = tool(_("Choose the image"), "", () => toggle(), { "aria-pressed": "false" });
circle.classList.add("choose");
const aboutButton = tool(_("About the image"), "i", () => inform(panel.hidden), { "aria-expanded": "false" });
const back = tool(_("The image before"), "‹", () => go(-1));
const onward = tool(_("The next image"), "›", () => go(1));
back.classList.add("before");
onward.classList.add("after");
const bar = element(
  "div",
  { class: "bar" },
  circle,
  caption,
  tool(_("Smaller"), "−", () => enlarge(1 / STEP)),
  tool(_("Larger"), "+", () => enlarge(STEP)),
  tool(_("Its own size (100 %)"), "1:1", () => hundred()),
  aboutButton,
  tool(_("Close"), "×", () => close()),
);
const dialog = element("dialog", { class: "viewer", "data-stays": true, "aria-label": _("Viewer") }, bar, element("div", { class: "middle" }, back, stage, onward, panel));
document.body.append(dialog);

const isOpen = () => dialog.open;
const current = () => order[place];
const shown = () => (together ? order.slice(0, MOST_TOGETHER) : [current()]);

// Pictures.

const ahead = new Map(); // pictures that are loaded before they are asked for, by address

function load(id, side) {
  const address = preview(id, side);
  let picture = ahead.get(address);
  if (!picture) {
    picture = new Image();
    picture.src = address;
    // Decoded now, so that it is there at once; one that fails is told of when it is shown.
    picture.ready = picture.decode().catch(() => {});
    ahead.set(address, picture);
    // A browser would keep them all: only those around are.
    if (ahead.size > 24) ahead.delete(ahead.keys().next().value);
  }
  return picture;
}

async function sizeOf(id) {
  if (!sizes.has(id)) {
    sizes.set(
      id,
      read(`images/${id}`)
        .then(({ width, height }) => ({ width, height }))
        .catch(() => null),
    );
    if (sizes.size > 5000) sizes.delete(sizes.keys().next().value);
  }
  return sizes.get(id);
}

class Pane {
  constructor(id) {
    this.id = id;
    this.size = null;
    this.side = 0;
    this.picture = element("img", { alt: names.get(id) || _("Image {id}", { id: id.slice(0, 12) }), draggable: "false" });
    this.refusal = element("p", { class: "refusal", role: "alert", hidden: true });
    this.element = element("div", { class: "pane" }, this.picture, this.refusal);
    if (together) this.element.append(element("p", { class: "name" }, element("bdi", {}, names.get(id) || id.slice(0, 12))));
    this.picture.addEventListener("load", () => {
      if (!this.size) this.draw();
    });
    this.picture.addEventListener("error", () => this.refused());
    const ready = load(id, SIDES[0]);
    this.picture.src = ready.complete && ready.naturalWidth ? ready.src : thumbnail(id);
    this.larger(SIDES[0]);
    sizeOf(id).then((size) => {
      this.size = size;
      if (isOpen() && panes.includes(this)) draw();
    });
  }

  // Take a larger picture once it is there; what is shown stays until then.
  async larger(side) {
    if (side <= this.side) return;
    this.side = side;
    const picture = load(this.id, side);
    await picture.ready;
    if (!panes.includes(this) || side < this.side) return;
    if (!picture.naturalWidth) {
      ahead.delete(preview(this.id, side));
      this.refused();
      return;
    }
    if (this.picture.src !== picture.src) {
      this.picture.src = picture.src;
      this.draw();
    }
    dialog.dispatchEvent(new CustomEvent("panoptic:shown", { detail: { id: this.id, side } }));
  }

  // Why there is no picture, in the server's words.
  async refused() {
    const answer = await fetch(preview(this.id, SIDES[0])).catch(() => null);
    if (answer?.ok) return;
    const said = await answer?.json().catch(() => null);
    this.refusal.replaceChildren(said?.error?.text || _("The server does not answer: is “panoptic-assets ui” still running?"));
    // What takes long or is asked for by many may be there the next time.
    if (!answer || answer.status === 503) this.refusal.append(" ", element("button", { type: "button", onclick: () => this.again() }, _("Try again")));
    this.refusal.hidden = false;
  }

  again() {
    this.refusal.hidden = true;
    this.side = 0;
    ahead.delete(preview(this.id, SIDES[0]));
    this.larger(SIDES[0]);
  }

  get natural() {
    if (this.size) return this.size;
    const { naturalWidth: width, naturalHeight: height } = this.picture;
    if (!width) return { width: 1, height: 1 };
    // Until its size is known: a thumbnail of 160 pixels is that of a larger image.
    const scale = Math.max(width, height) >= 160 ? 4096 / Math.max(width, height) : 1;
    return { width: width * scale, height: height * scale };
  }

  // Pixels of the screen for one of the image, where all of it is seen.
  get fit() {
    const { width, height } = this.natural;
    return Math.min(ENLARGED, this.element.clientWidth / width, this.element.clientHeight / height) || 1;
  }

  draw() {
    const { width, height } = this.natural;
    const scale = this.fit * view.zoom;
    const [wide, high] = [Math.max(1, width * scale), Math.max(1, height * scale)];
    const left = this.element.clientWidth / 2 - view.x * wide;
    const top = this.element.clientHeight / 2 - view.y * high;
    Object.assign(this.picture.style, { width: `${wide}px`, height: `${high}px`, transform: `translate(${left}px, ${top}px)` });
    this.picture.style.imageRendering = scale > 3 ? "pixelated" : "";
    const needed = Math.max(wide, high) * devicePixelRatio;
    const largest = Math.max(width, height);
    const side = SIDES.find((one) => one >= Math.min(needed, largest)) || SIDES.at(-1);
    if (side > SIDES[0]) this.larger(side);
  }
}

let panes = [];

// Where the middle may be, so that no picture is lost from sight.
function bounded() {
  const pane = panes[0];
  const { width, height } = pane.natural;
  const scale = pane.fit * view.zoom;
  const half = (room, length) => Math.min(0.5, room / 2 / Math.max(1, length));
  for (const [axis, room, length] of [
    ["x", pane.element.clientWidth, width * scale],
    ["y", pane.element.clientHeight, height * scale],
  ]) {
    const least = half(room, length);
    view[axis] = Math.min(1 - least, Math.max(least, view[axis]));
  }
}

function draw() {
  if (!panes.length) return;
  bounded();
  for (const pane of panes) pane.draw();
  tellWhat();
}

function tellWhat() {
  stage.classList.toggle("enlarged", view.zoom > 1.001);
  const pane = panes[0];
  const percent = Math.round(pane.fit * view.zoom * 100);
  const where = together ? ngettext("{n} image side by side", "{n} images side by side", panes.length) : _("{n} of {total}", { n: number((counted?.first || 0) + place + 1), total: number(counted?.total || order.length) });
  const parts = [where, pane.size && !together ? `${number(percent)} %` : ""].filter(Boolean).join(" · ");
  const name = together ? "" : names.get(current()) || "";
  const line = `${name}\n${parts}`;
  if (caption.dataset.line === line) return;
  caption.dataset.line = line;
  caption.replaceChildren(element("bdi", { class: "name" }, name), " ", element("span", { class: "soft" }, parts));
}

// Zoom and place.

const most = () => Math.max(1, CLOSEST / panes[0].fit);
const least = () => Math.min(1, 1 / panes[0].fit);

// Enlarge, so that the point of the image at a place of a pane stays where it is.
function enlarge(factor, at = null) {
  const pane = at?.pane || panes[0];
  const zoom = Math.min(most(), Math.max(least(), view.zoom * factor));
  if (at) {
    const { width, height } = pane.natural;
    const [then, now] = [view.zoom, zoom].map((one) => pane.fit * one);
    const [x, y] = [at.x - pane.element.clientWidth / 2, at.y - pane.element.clientHeight / 2];
    view.x += x / (width * then) - x / (width * now);
    view.y += y / (height * then) - y / (height * now);
  }
  view.zoom = zoom;
  draw();
}

function pan(x, y, pane = panes[0]) {
  const { width, height } = pane.natural;
  const scale = pane.fit * view.zoom;
  view.x -= x / (width * scale);
  view.y -= y / (height * scale);
  draw();
}

function whole() {
  view = { zoom: 1, x: 0.5, y: 0.5 };
  draw();
}

function hundred() {
  const zoom = 1 / panes[0].fit;
  if (Math.abs(view.zoom - zoom) < 0.001) whole();
  else enlarge(zoom / view.zoom);
}

function atPointer(event) {
  const pane = panes.find((one) => one.element.contains(event.target)) || panes[0];
  const box = pane.element.getBoundingClientRect();
  return { pane, x: event.clientX - box.left, y: event.clientY - box.top };
}

stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    enlarge(Math.exp((-event.deltaY * lines) / 400), atPointer(event));
  },
  { passive: false },
);

stage.addEventListener("dblclick", (event) => {
  if (view.zoom > 1.001) whole();
  else enlarge(Math.max(2, 1 / panes[0].fit), atPointer(event));
});

const fingers = new Map(); // pointers that are down, and where
let start = null;

stage.addEventListener("pointerdown", (event) => {
  if (event.button > 1 || event.target.closest("button")) return;
  stage.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (fingers.size === 1) start = { x: event.clientX, y: event.clientY, id: current() };
});

const spread = () => {
  const [one, other] = [...fingers.values()];
  return Math.hypot(one.x - other.x, one.y - other.y) || 1;
};

stage.addEventListener("pointermove", (event) => {
  const was = fingers.get(event.pointerId);
  if (!was) return;
  const now = { x: event.clientX, y: event.clientY };
  if (fingers.size === 2) {
    const wide = spread();
    fingers.set(event.pointerId, now);
    const [one, other] = [...fingers.values()];
    start = null;
    enlarge(spread() / wide, atPointer({ target: event.target, clientX: (one.x + other.x) / 2, clientY: (one.y + other.y) / 2 }));
    return;
  }
  fingers.set(event.pointerId, now);
  if (view.zoom > 1.001) pan(now.x - was.x, now.y - was.y);
});

function lifted(event) {
  fingers.delete(event.pointerId);
  // A finger that wipes over an image that is seen as a whole turns the page.
  if (event.type === "pointerup" && event.pointerType !== "mouse" && start && view.zoom <= 1.001 && !together) {
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) go(x < 0 ? 1 : -1);
  }
  if (!fingers.size) start = null;
}
stage.addEventListener("pointerup", lifted);
stage.addEventListener("pointercancel", lifted);

new ResizeObserver(() => isOpen() && draw()).observe(stage);

// Which image.

function show() {
  const ids = shown();
  view = { zoom: 1, x: 0.5, y: 0.5 };
  panes = ids.map((id) => new Pane(id));
  stage.replaceChildren(...panes.map((pane) => pane.element));
  stage.dataset.count = String(panes.length);
  circle.hidden = together;
  aboutButton.hidden = together;
  back.hidden = together || (place === 0 && !pages.prev);
  onward.hidden = together || (place >= order.length - 1 && !pages.next);
  press();
  draw();
  if (!together) {
    for (const step of [1, 2, -1]) {
      const id = order[place + step];
      if (!id) continue;
      load(id, SIDES[0]);
      sizeOf(id);
      const large = Math.max(stage.clientWidth, stage.clientHeight) * devicePixelRatio;
      if (step === 1 && large > SIDES[0]) load(id, SIDES.find((side) => side >= large) || SIDES.at(-1));
    }
  }
  if (panel.hidden || together) return;
  about();
}

// Also over to the next page of the place where it was opened, whose tiles have the same order.
async function go(step) {
  if (together || !isOpen()) return;
  if (!order[place + step]) await turn(step);
  if (!order[place + step]) return;
  place += step;
  address(true);
  show();
}

async function turn(step) {
  const way = step > 0 ? "next" : "prev";
  const where = pages[way];
  if (!where) return;
  pages[way] = null;
  const answer = await fetch(where, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const ids = collect(page);
  pages[way] = nextOf(page, way);
  const known = new Set(order);
  const fresh = ids.filter((id) => !known.has(id));
  if (step > 0) {
    order.push(...fresh);
  } else {
    order.unshift(...fresh);
    place += fresh.length;
    if (counted) counted.first -= fresh.length;
  }
}

function collect(page) {
  const ids = [];
  for (const tile of page.querySelectorAll("main [data-images] [data-id]")) {
    ids.push(tile.dataset.id);
    note(tile);
  }
  return [...new Set(ids)];
}

// Remember what a tile says of its image.
function note(tile) {
  const name = tile.querySelector("img")?.alt;
  if (name) names.set(tile.dataset.id, name);
  const [width, height] = (tile.dataset.full || "").split("x").map(Number);
  if (width && height) sizes.set(tile.dataset.id, Promise.resolve({ width, height }));
}

function nextOf(page, way) {
  const href = page.querySelector(`main a[rel="${way}"]`)?.getAttribute("href");
  return href ? new URL(href, location.href).href : null;
}

// Going back closes it, and the address shows the image to whom it is given.
function address(again) {
  const wanted = `#image-${current()}`;
  if (again) history.replaceState(history.state, "", wanted);
  else history.pushState({ viewer: true }, "", wanted);
}

const asked = () => location.hash.match(/^#image-([0-9a-f]{64})$/)?.[1] || null;

function inert(is) {
  for (const selector of BEHIND) document.querySelector(selector)?.toggleAttribute("inert", is);
  document.body.classList.toggle("viewing", is);
}

// Where a page's images are in all of them, and the pages before and after it.
function around(page) {
  const { total, first = 0 } = page.querySelector("main [data-images][data-total]")?.dataset || {};
  return { prev: nextOf(page, "prev"), next: nextOf(page, "next"), counted: total ? { total: Number(total), first: Number(first) } : null };
}

// Show images: `ids` in their order, the one at `index` first; with `together` the first four of
// them side by side.
export function openViewer(ids, index = 0, { together: several = false, from = {} } = {}) {
  if (!ids.length) return;
  const fresh = !isOpen();
  if (fresh) before = document.activeElement;
  order = [...ids];
  collect(document);
  pages = { prev: from.prev || null, next: from.next || null };
  counted = from.counted || null;
  place = Math.max(0, Math.min(index, ids.length - 1));
  together = several;
  unpeek();
  dialog.classList.toggle("several", together);
  if (fresh) {
    dialog.show();
    inert(true);
    if (!asked()) {
      address(false);
      pushed = true;
    }
    let open = false;
    try {
      open = sessionStorage.getItem(PANEL) === "open";
    } catch {
      // Then it is closed at first.
    }
    panel.hidden = !open;
  } else {
    address(true);
  }
  panel.hidden = panel.hidden || together;
  aboutButton.setAttribute("aria-expanded", String(!panel.hidden));
  show();
  stage.focus();
}

function openHere(tile) {
  const ids = collect(document);
  openViewer(ids, ids.indexOf(tile.dataset.id), { from: around(document) });
}

function leave() {
  if (!isOpen()) return;
  const id = current();
  dialog.close();
  inert(false);
  panes = [];
  stage.replaceChildren();
  panel.replaceChildren();
  pushed = false;
  const tile = document.querySelector(`main [data-images] [data-id="${id}"] a`);
  (tile || before)?.focus?.();
  tile?.scrollIntoView({ block: "nearest" });
}

function close() {
  if (pushed) {
    history.back(); // which leaves it
    return;
  }
  history.replaceState(null, "", location.pathname + location.search);
  leave();
}

addEventListener("popstate", () => {
  const id = asked();
  if (!id) leave();
  else if (!isOpen()) openFromAddress(id);
});

function openFromAddress(id) {
  const ids = collect(document);
  if (ids.includes(id)) openViewer(ids, ids.indexOf(id), { from: around(document) });
  else openViewer([id]);
}

// Choosing.

function press() {
  const chosen = !together && selection.has(current());
  circle.setAttribute("aria-pressed", String(chosen));
}

function toggle() {
  selection.toggle(current());
}

selection.onChange(() => isOpen() && press());

// What is known of it: a part of its page.

async function about() {
  const id = current();
  told += 1;
  const mine = told;
  const answer = await fetch(`${base}/images/${id}`, { headers: { Accept: "text/html" } }).catch(() => null);
  if (mine !== told || !isOpen()) return;
  const page = answer && new DOMParser().parseFromString(await answer.text(), "text/html");
  if (mine !== told || !isOpen()) return;
  const found = page?.getElementById("information");
  if (!found) {
    const why = page?.querySelector("main p")?.textContent;
    panel.replaceChildren(element("p", {}, why || _("The server does not answer: is “panoptic-assets ui” still running?")));
    return;
  }
  panel.dataset.seen = page.getElementById("content").dataset.seen;
  panel.replaceChildren(document.importNode(found, true));
}

function inform(open) {
  panel.hidden = !open;
  aboutButton.setAttribute("aria-expanded", String(open));
  try {
    sessionStorage.setItem(PANEL, open ? "open" : "closed");
  } catch {
    // Then it is closed again the next time.
  }
  if (open) about();
  else panel.replaceChildren();
  draw();
}

// A neighbour is looked at in the same viewer.
panel.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-id]");
  if (!tile || !event.target.closest("a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const all = [...panel.querySelectorAll("[data-id]")];
  all.forEach(note);
  const ids = [...new Set([current(), ...all.map((one) => one.dataset.id)])];
  openViewer(ids, ids.indexOf(tile.dataset.id));
});

onRefresh(() => {
  if (!isOpen()) return;
  inert(true);
  if (!panel.hidden) about();
});

// Opening.

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const tile = event.target.closest("main [data-images] [data-id]");
  if (!tile || !event.target.closest("a")) return;
  event.preventDefault();
  openHere(tile);
});

const single = () => isOpen() && !together;
key("ArrowLeft", _("The image before"), () => void go(-1), single);
key("ArrowRight", _("The next image"), () => void go(1), single);
key("x", _("Choose the image, or not"), toggle, single);
key("i", _("About the image"), () => inform(panel.hidden), single);
key("+", _("Larger"), () => enlarge(STEP), isOpen);
key("=", "", () => enlarge(STEP), isOpen);
key("-", _("Smaller"), () => enlarge(1 / STEP), isOpen);
key("z", _("Its own size (100 %), or all of it"), hundred, isOpen);
key("r", _("All of the image"), whole, isOpen);
const moves = [
  ["ArrowUp", 0, 60],
  ["ArrowDown", 0, -60],
];
for (const [name, x, y] of moves) key(name, "", () => pan(x, y), () => isOpen() && document.activeElement === stage && view.zoom > 1.001);
key("Escape", _("Close the viewer"), close, () => isOpen() && !document.querySelector("dialog:modal, :popover-open"));

// Holding Ctrl over a tile enlarges it, as long as it is held.

const glimpse = element("figure", { id: "glimpse", "aria-hidden": "true", hidden: true }, element("img", { alt: "" }));
document.body.append(glimpse);

function peek(tile) {
  const picture = glimpse.firstChild;
  const id = tile.dataset.id;
  picture.src = thumbnail(id);
  const larger = load(id, SIDES[0]);
  larger.ready.then(() => {
    if (!glimpse.hidden && glimpse.dataset.id === id && larger.naturalWidth) picture.src = larger.src;
  });
  glimpse.dataset.id = id;
  const box = tile.getBoundingClientRect();
  glimpse.classList.toggle("left", box.left + box.width / 2 > innerWidth / 2);
  glimpse.hidden = false;
}

function unpeek() {
  glimpse.hidden = true;
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Control" || event.repeat || isOpen()) {
    if (event.key !== "Control") unpeek();
    return;
  }
  const tile = document.querySelector("[data-images] [data-id]:hover");
  if (tile) peek(tile);
});
document.addEventListener("pointerover", (event) => {
  if (glimpse.hidden) return;
  const tile = event.target.closest?.("[data-images] [data-id]");
  if (tile && event.ctrlKey) peek(tile);
  else unpeek();
});
document.addEventListener("keyup", (event) => event.key === "Control" && unpeek());
addEventListener("blur", unpeek);

const first = asked();
if (first) openFromAddress(first);
