// Drawing a map: points, what lies over them, and the gestures on it. What points are is map_page.js's.
//
// Points are painted into pixels by hand: on 1,180 × 900 pixels 20,000 of them take 11 ms, 100,000
// take 22 ms (two busy cores of 2.5 GHz), and they look the same in every browser, with a graphics
// card and without. WebGL needs one, and Plotly text that becomes code.
import { element } from "./dom.js";

const LONGEST_CLICK = 4; // pixels that a pointer may move and still click
const REACH = 14; // pixels from a point to the pointer that is about it
const FINGER = 24;
const CORNER = 6; // pixels between two corners of a lasso
const MOST_CORNERS = 400;
const WIDEST = 4096; // pixels of the canvas, of which a browser has not more

// How far the map can be zoomed in, of its whole.
const DEEPEST = 400;

function inside(x, y, polygon) {
  let within = false;
  for (let here = 0, before = polygon.length - 1; here < polygon.length; before = here++) {
    const [x1, y1] = polygon[before];
    const [x2, y2] = polygon[here];
    if (y1 <= y !== y2 <= y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) within = !within;
  }
  return within;
}

export const rowsInside = (rows, x, y, polygon) => rows.filter((row) => inside(x[row], y[row], polygon));

// The pixels of a disc by their distance from its middle, each with how much of it the disc covers.
function disc(radius) {
  const reach = Math.ceil(radius + 0.5);
  const right = [];
  const down = [];
  const covered = [];
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const share = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(dx, dy)));
      if (share === 0) continue;
      right.push(dx);
      down.push(dy);
      covered.push(share);
    }
  }
  return { reach, right: Int32Array.from(right), down: Int32Array.from(down), covered: Float32Array.from(covered) };
}

const known = new Map(); // channels of colours, by how CSS says them

function channels(colour) {
  if (!known.has(colour)) known.set(colour, drawn(colour));
  return known.get(colour);
}

function drawn(colour) {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

function stamp(data, width, height, px, py, { reach, right, down, covered }, colour, strength) {
  if (px < -reach || py < -reach || px >= width + reach || py >= height + reach) return;
  const red = colour >> 16;
  const green = (colour >> 8) & 255;
  const blue = colour & 255;
  const isWhole = px >= reach && py >= reach && px < width - reach && py < height - reach;
  for (let number = 0; number < covered.length; number++) {
    const across = px + right[number];
    const below = py + down[number];
    if (!isWhole && (across < 0 || below < 0 || across >= width || below >= height)) continue;
    const at = 4 * (below * width + across);
    const share = covered[number] * strength;
    data[at] += (red - data[at]) * share;
    data[at + 1] += (green - data[at + 1]) * share;
    data[at + 2] += (blue - data[at + 2]) * share;
  }
}

// The colour of `#rrggbb` as one number.
export const packed = (hex) => parseInt(hex.slice(1), 16);

export class MapView {
  // `told` has hover(row, event), click(row, event), lasso(rows, polygon, isTakingOut) and view().
  constructor(place, told) {
    this.place = place;
    this.told = told;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.over = element("div", { class: "over" });
    this.ring = element("div", { class: "ring", hidden: true, "aria-hidden": "true" });
    this.line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.line.setAttribute("class", "lasso");
    this.line.setAttribute("aria-hidden", "true");
    this.line.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
    place.replaceChildren(this.canvas, this.over, this.ring, this.line);
    this.x = this.y = new Float32Array();
    this.shown = [];
    this.colours = new Uint32Array();
    this.dimmed = null;
    this.chosen = null;
    this.isMoving = false; // whether dragging moves the map
    this.width = this.height = 0;
    this.pointers = new Map();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // What is drawn. All rows have coordinates; `shown` says which of them are drawn, in this order.
  setPoints(x, y) {
    this.x = x;
    this.y = y;
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let row = 0; row < x.length; row++) {
      left = Math.min(left, x[row]);
      right = Math.max(right, x[row]);
      low = Math.min(low, y[row]);
      high = Math.max(high, y[row]);
    }
    this.bounds = x.length ? [left, right, low, high] : [0, 1, 0, 1];
    this.resize(true);
  }

  setColours({ shown, colours, dimmed, chosen }) {
    Object.assign(this, { shown, colours, dimmed, chosen });
    this.draw();
  }

  get zoom() {
    return this.scale / this.whole;
  }

  // Its pixels are asked for here alone: for each point, a browser would look whether the page has
  // changed, which took most of the time of a frame.
  resize(anew = false) {
    this.width = this.place.clientWidth;
    this.height = this.place.clientHeight;
    const [left, right, low, high] = this.bounds || [0, 1, 0, 1];
    const margin = 28;
    const room = [Math.max(40, this.width - 2 * margin), Math.max(40, this.height - 2 * margin)];
    const before = this.whole;
    this.whole = Math.min(room[0] / (right - left || 1), room[1] / (high - low || 1));
    if (anew || !this.middle) {
      this.scale = this.whole;
      this.middle = [(left + right) / 2, (low + high) / 2];
    } else {
      this.scale *= this.whole / before;
    }
    this.density = Math.min(devicePixelRatio || 1, 2, WIDEST / Math.max(1, this.width, this.height));
    this.canvas.width = Math.max(1, Math.round(this.width * this.density));
    this.canvas.height = Math.max(1, Math.round(this.height * this.density));
    this.moved();
  }

  at(row) {
    return this.screen(this.x[row], this.y[row]);
  }

  screen(x, y) {
    return [this.width / 2 + (x - this.middle[0]) * this.scale, this.height / 2 - (y - this.middle[1]) * this.scale];
  }

  world(left, top) {
    return [this.middle[0] + (left - this.width / 2) / this.scale, this.middle[1] - (top - this.height / 2) / this.scale];
  }

  isInView(row) {
    const [left, top] = this.at(row);
    return left >= 0 && top >= 0 && left <= this.width && top <= this.height;
  }

  get radius() {
    const n = this.x.length;
    const one = (n > 20_000 ? 1.5 : n > 5_000 ? 2 : n > 1_000 ? 3 : 4.5) * (this.width < 500 ? 0.8 : 1);
    return one * Math.min(2.5, Math.max(1, this.zoom ** 0.3));
  }

  // Zoom so that what is below a place on the screen stays there.
  zoomBy(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.world(left, top);
    this.scale = Math.min(this.whole * DEEPEST, Math.max(this.whole * 0.5, this.scale * factor));
    const [wx, wy] = this.world(left, top);
    this.middle = [this.middle[0] + x - wx, this.middle[1] + y - wy];
    this.moved();
  }

  moveBy(dx, dy) {
    this.middle = [this.middle[0] - dx / this.scale, this.middle[1] + dy / this.scale];
    this.moved();
  }

  showAll() {
    this.resize(true);
  }

  moved() {
    const [left, right, low, high] = this.bounds || [0, 1, 0, 1];
    this.middle = [Math.min(right, Math.max(left, this.middle[0])), Math.min(high, Math.max(low, this.middle[1]))];
    this.showRing(null);
    this.draw();
    this.told.view();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.paint();
    });
  }

  paint() {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d", { alpha: false });
    const style = getComputedStyle(this.place);
    const paper = channels(style.backgroundColor);
    const ink = channels(style.color);
    const picture = context.createImageData(width, height);
    new Uint32Array(picture.data.buffer).fill((255 << 24) | (paper[2] << 16) | (paper[1] << 8) | paper[0]);
    const radius = this.radius * this.density;
    const point = disc(radius);
    const edge = disc(radius + 2.5 * this.density);
    const around = (ink[0] << 16) | (ink[1] << 8) | ink[2];
    const { dimmed, chosen } = this;
    // What is not meant lies below, what is chosen above.
    this.stampAll(picture, (row) => !chosen?.[row] && dimmed?.[row], point, 0.14);
    this.stampAll(picture, (row) => !chosen?.[row] && !dimmed?.[row], point, 0.88);
    if (chosen) this.stampAll(picture, (row) => chosen[row], point, 1, edge, around);
    context.putImageData(picture, 0, 0);
  }

  stampAll({ data, width, height }, isMeant, form, strength, edge = null, around = 0) {
    const { x, y, density, colours } = this;
    const scale = this.scale * density;
    const left = (this.width / 2) * density - this.middle[0] * scale;
    const top = (this.height / 2) * density + this.middle[1] * scale;
    for (const row of this.shown) {
      if (!isMeant(row)) continue;
      const px = Math.round(left + x[row] * scale);
      const py = Math.round(top - y[row] * scale);
      if (edge) stamp(data, width, height, px, py, edge, around, 1);
      stamp(data, width, height, px, py, form, colours[row], strength);
    }
  }

  // The point that is nearest to a place on the screen, within reach.
  nearest(left, top, reach = REACH) {
    let found = -1;
    let least = reach * reach;
    const [x, y] = this.world(left, top);
    for (const row of this.shown) {
      if (this.dimmed?.[row]) continue;
      const dx = (this.x[row] - x) * this.scale;
      const dy = (this.y[row] - y) * this.scale;
      const away = dx * dx + dy * dy;
      if (away <= least) [found, least] = [row, away];
    }
    return found;
  }

  showRing(row) {
    this.ringed = row;
    this.ring.hidden = row === null;
    if (row === null) return;
    const [left, top] = this.at(row);
    const side = 2 * this.radius + 10;
    this.ring.style.width = this.ring.style.height = `${side}px`;
    this.ring.style.transform = `translate(${left - side / 2}px, ${top - side / 2}px)`;
  }

  // Gestures.

  placeOf(event) {
    const box = this.place.getBoundingClientRect();
    return [event.clientX - box.left - this.place.clientLeft, event.clientY - box.top - this.place.clientTop];
  }

  listen() {
    const { place } = this;
    place.addEventListener("pointerdown", (event) => this.down(event));
    place.addEventListener("pointermove", (event) => this.move(event));
    place.addEventListener("pointerup", (event) => this.up(event));
    place.addEventListener("pointercancel", (event) => this.cancel(event));
    place.addEventListener("pointerleave", () => this.gesture || this.leave());
    place.addEventListener("contextmenu", (event) => event.preventDefault());
    place.addEventListener("dblclick", (event) => event.target.closest("button") || this.showAll());
    place.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...this.placeOf(event));
      },
      { passive: false },
    );
    place.addEventListener("keydown", (event) => this.pressed(event));
  }

  leave() {
    this.showRing(null);
    this.told.hover(null);
  }

  down(event) {
    this.pointers.set(event.pointerId, this.placeOf(event));
    if (this.pointers.size === 2) {
      this.gesture = { kind: "pinch" };
      this.drawLine([]);
      return;
    }
    const isTakingOut = event.button === 2;
    const moves = event.button === 1 || event.shiftKey || this.isMoving;
    if (event.button === 1) event.preventDefault();
    const from = this.placeOf(event);
    this.gesture = { kind: isTakingOut ? "lasso" : moves ? "move" : "lasso", from, corners: [from], isTakingOut, onButton: Boolean(event.target.closest("button")) };
  }

  move(event) {
    const here = this.placeOf(event);
    const before = this.pointers.get(event.pointerId);
    if (!this.gesture || !before) {
      if (event.target.closest("button")) return this.leave();
      const row = this.nearest(...here);
      this.showRing(row < 0 ? null : row);
      this.told.hover(row < 0 ? null : row, event);
      return;
    }
    if (this.gesture.kind === "pinch") {
      const [one, other] = [...this.pointers.values()];
      const apart = Math.hypot(one[0] - other[0], one[1] - other[1]);
      this.pointers.set(event.pointerId, here);
      const [now, then] = [...this.pointers.values()];
      const middle = [(now[0] + then[0]) / 2, (now[1] + then[1]) / 2];
      this.zoomBy(Math.hypot(now[0] - then[0], now[1] - then[1]) / Math.max(1, apart), ...middle);
      this.moveBy((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
      return;
    }
    if (!this.gesture.isDragged) {
      if (Math.hypot(here[0] - this.gesture.from[0], here[1] - this.gesture.from[1]) < LONGEST_CLICK) return;
      this.gesture.isDragged = true;
      // Not before: who presses a button on the map clicks it.
      this.place.setPointerCapture(event.pointerId);
      this.leave();
    }
    this.pointers.set(event.pointerId, here);
    if (this.gesture.kind === "move") {
      this.moveBy(here[0] - before[0], here[1] - before[1]);
      return;
    }
    const last = this.gesture.corners.at(-1);
    if (Math.hypot(here[0] - last[0], here[1] - last[1]) >= CORNER) this.gesture.corners.push(here);
    this.drawLine(this.gesture.corners);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const { gesture } = this;
    if (!gesture) return;
    if (gesture.kind === "pinch") {
      if (this.pointers.size === 0) this.gesture = null;
      return;
    }
    this.gesture = null;
    this.drawLine([]);
    if (!gesture.isDragged) {
      if (gesture.onButton || event.button !== 0) return;
      const row = this.nearest(...this.placeOf(event), event.pointerType === "touch" ? FINGER : REACH);
      if (row >= 0) this.told.click(row, event);
      return;
    }
    if (gesture.kind !== "lasso" || gesture.corners.length < 3) return;
    const every = Math.ceil(gesture.corners.length / MOST_CORNERS);
    const polygon = gesture.corners.filter((_, number) => number % every === 0).map((corner) => this.world(...corner));
    if (polygon.length < 3) return;
    this.told.lasso(rowsInside(this.shown, this.x, this.y, polygon), polygon, gesture.isTakingOut);
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.gesture = null;
    this.drawLine([]);
  }

  drawLine(corners) {
    const path = this.line.firstElementChild;
    path.setAttribute("d", corners.length ? `M${corners.map((corner) => corner.join(" ")).join("L")}Z` : "");
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== this.place) return;
    const step = 60;
    const keys = {
      ArrowLeft: () => this.moveBy(step, 0),
      ArrowRight: () => this.moveBy(-step, 0),
      ArrowUp: () => this.moveBy(0, step),
      ArrowDown: () => this.moveBy(0, -step),
      "+": () => this.zoomBy(1.4),
      "-": () => this.zoomBy(1 / 1.4),
      0: () => this.showAll(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }
}
