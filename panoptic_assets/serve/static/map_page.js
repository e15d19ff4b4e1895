// The page of a map: its data, colours and their list, pictures on it, and what is done from there.
//
// The points are asked for once, the colours after every act. Drawing is map_view.js's.
import { read, thumbnail } from "./api.js";
import { element } from "./dom.js";
import { key } from "./keys.js";
import { _, images, language, ngettext, number } from "./language.js";
import { MapView, packed, rowsInside } from "./map_view.js";
import { onRefresh } from "./refresh.js";
import { idsOf, selection } from "./selection.js";
import { refused, tell } from "./told.js";
import { openViewer } from "./viewer.js";

const STAY = 125; // milliseconds that the pointer is at a point before its picture is shown
const SEARCHED = 12; // entries of a list from which on it can be searched
const PICTURES = 90; // on the map, of single images
const SIDE = 46; // pixels of one
const NEAR = 2.2; // how far one zooms in until single images are shown
const LABEL = [92, 74]; // pixels of a cluster's picture with its name
const IN_VIEWER = 300; // images that the viewer goes through, from the one that was clicked
// Viridis: evenly bright steps, for people with colour-blindness too (Smith and van der Walt, 2015).
const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const MISSING = packed("#9a9a9a");

const $ = (id) => document.getElementById(id);
const app = $("map-app");

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

class MapPage {
  constructor() {
    this.view = new MapView($("map"), {
      hover: (row, event) => this.hover(row, event),
      click: (row) => this.open(row),
      lasso: (rows, polygon, isTakingOut) => this.lasso(rows, polygon, isTakingOut),
      view: () => this.moved(),
    });
    this.colouring = null;
    this.wanted = new URLSearchParams(location.search).get("colour"); // its key, also before it is there
    this.asking = 0;
    this.hidden = new Set();
    this.lit = null;
    this.places = new Map(); // elements of clusters on the map, by code
    this.pictures = new Map(); // elements of images on the map, by row
    this.listen();
  }

  get asked() {
    return { run: app.dataset.run, projection: app.dataset.projection };
  }

  async load() {
    if (this.version !== app.dataset.version) await this.loadPoints();
    await this.loadColours();
    selection.counted = () => this.chosen()?.reduce((sum, one) => sum + one, 0) ?? 0;
    selection.changed();
    app.dataset.ready = "true";
  }

  async loadPoints() {
    const data = await read("map/points", this.asked);
    this.version = data.version;
    this.x = floats(data.x);
    this.y = floats(data.y);
    this.names = data.names;
    this.raw = bytes(data.ids);
    this.ids = new Array(this.x.length);
    this.rows = null;
    this.forget();
    this.view.setPoints(this.x, this.y);
  }

  // Of the clusters of other runs, which may be many, those that are chosen are asked for.
  async loadColours() {
    const mine = ++this.asking;
    const colour = this.wanted?.startsWith("run:") ? this.wanted : "";
    const data = await read("map/colours", { ...this.asked, language, colour });
    if (mine !== this.asking) return; // it was asked for again meanwhile
    if (data.points !== this.version) await this.loadPoints();
    this.clusters = data.clusters;
    this.nodes = data.nodes;
    this.nodeOf = new Uint32Array(bytes(data.nodeOf).buffer);
    this.colourings = data.colourings.map((one) => (one.codes ? { ...one, codes: bytes(one.codes) } : { ...one, numbers: floats(one.numbers) }));
    const same = this.colourings.find((one) => one.key === this.wanted);
    const hidden = new Set(this.colouring?.key === same?.key ? [...this.hidden].map((code) => this.colouring.labels[code]) : []);
    this.choose(same || this.colourings[0], hidden);
    const others = JSON.parse(app.dataset.runs).filter((run) => run !== app.dataset.run && `run:${run}` !== this.colouring.key);
    $("colouring").replaceChildren(
      ...this.colourings.map((one) => element("option", { value: one.key, selected: one === this.colouring }, one.name)),
      ...others.map((run) => element("option", { value: `run:${run}` }, _("clusters of {run}", { run }))),
    );
  }

  choose(colouring, hidden = new Set()) {
    this.colouring = colouring;
    this.hidden = new Set((colouring.labels || []).flatMap((label, code) => (hidden.has(label) ? [code] : [])));
    this.lit = null;
    this.counts = null;
    if (colouring.codes) {
      this.counts = new Uint32Array(colouring.labels.length);
      for (const code of colouring.codes) this.counts[code]++;
    }
    this.colours = this.coloursOf(colouring);
    this.forget();
    this.legend();
    this.draw();
  }

  // Take the pictures off the map; the next look puts those on it that belong there.
  forget() {
    for (const made of [...this.places.values(), ...this.pictures.values()]) made.remove();
    this.places.clear();
    this.pictures.clear();
  }

  coloursOf(colouring) {
    const found = new Uint32Array(this.x.length);
    if (colouring.codes) {
      const of = colouring.colours.map(packed);
      for (let row = 0; row < found.length; row++) found[row] = of[colouring.codes[row]];
      return found;
    }
    const [low, high] = extent(colouring.numbers);
    for (let row = 0; row < found.length; row++) {
      const value = colouring.numbers[row];
      found[row] = Number.isNaN(value) ? MISSING : onScale(high > low ? (value - low) / (high - low) : 0);
    }
    return found;
  }

  idOf(row) {
    if (this.ids[row]) return this.ids[row];
    let id = "";
    for (let at = 32 * row; at < 32 * row + 32; at++) id += this.raw[at].toString(16).padStart(2, "0");
    return (this.ids[row] = id);
  }

  isHidden(row) {
    return Boolean(this.colouring.codes) && this.hidden.has(this.colouring.codes[row]);
  }

  draw() {
    if (!this.colouring) return;
    const shown = [];
    for (let row = 0; row < this.x.length; row++) if (!this.isHidden(row)) shown.push(row);
    const dimmed = this.lit === null ? null : Uint8Array.from(this.colouring.codes, (code) => Number(code !== this.lit));
    this.view.setColours({ shown, colours: this.colours, dimmed, chosen: this.chosen() });
    this.moved();
  }

  // Which points are chosen, whatever page they were chosen on.
  chosen() {
    if (selection.isEmpty || !this.x) return null;
    const found = new Uint8Array(this.x.length);
    this.rows ||= new Map(Array.from(this.x, (_one, row) => [this.idOf(row), row]));
    const put = (id, value) => this.rows.has(id) && (found[this.rows.get(id)] = value);
    for (const one of selection.scopes) {
      const { region, node } = one.scope;
      if (region && region.projection === app.dataset.region) {
        for (const row of rowsInside([...this.x.keys()], this.x, this.y, region.polygon)) found[row] = 1;
      } else if (node) {
        this.nodes.forEach((name, code) => {
          if (name !== node.node && !name.startsWith(`${node.node}/`)) return;
          this.nodeOf.forEach((of, row) => of === code && (found[row] = 1));
        });
      } else {
        for (const id of selection.idsWithin(one) || []) put(id, 1);
      }
      for (const id of one.without) put(id, 0);
    }
    for (const id of selection.ids) put(id, 1);
    return found;
  }

  // What goes with the part of the map that is in view: pictures, and numbers in the list.
  moved() {
    hide();
    if (this.looking || !this.colouring) return;
    this.looking = requestAnimationFrame(() => {
      this.looking = null;
      this.inView = this.view.shown.filter((row) => this.view.isInView(row));
      this.putPictures();
      this.count();
    });
  }

  count() {
    $("map-remark").textContent = this.inView.length === this.x.length ? "" : _("{shown} of {all} images are in view.", { shown: number(this.inView.length), all: number(this.x.length) });
    if (!this.counts) return;
    const now = new Uint32Array(this.counts.length);
    for (const row of this.inView) now[this.colouring.codes[row]]++;
    for (const place of document.querySelectorAll("#legend [data-code] .count")) {
      const code = Number(place.closest("[data-code]").dataset.code);
      const all = this.counts[code];
      place.textContent = now[code] === all ? number(all) : `${number(now[code])}/${number(all)}`;
    }
  }

  // Pictures on the map: one for each category where it is, and single ones where there is room.
  putPictures() {
    const taken = [];
    const isFree = (left, top, width, height) => taken.every((box) => left + width < box[0] || top + height < box[1] || left > box[0] + box[2] || top > box[1] + box[3]);
    const wanted = $("with-pictures").checked;
    const places = new Set();
    const pictures = new Set();
    if (wanted && this.colouring.codes) {
      for (const { code, row, x, y } of this.centres()) {
        if (places.size === 60) break;
        const [left, top] = this.view.screen(x, y);
        const box = [left - LABEL[0] / 2, top - LABEL[1] / 2, ...LABEL];
        const isIn = left > 0 && top > 0 && left < this.view.width && top < this.view.height;
        if (!isIn || this.hidden.has(code) || !isFree(...box)) continue;
        taken.push(box);
        places.add(code);
        this.place(code, row).style.transform = `translate(${left}px, ${top}px) translate(-50%, -50%)`;
      }
    }
    if (wanted && this.view.zoom > NEAR) {
      const typical = new Set([...places].map((code) => this.colouring.centres.find((one) => one.code === code).row));
      for (const row of this.inView) {
        if (pictures.size === PICTURES) break;
        if (typical.has(row)) continue;
        const [left, top] = this.view.at(row);
        const box = [left - SIDE / 2, top - SIDE / 2, SIDE + 4, SIDE + 4];
        if (!isFree(...box)) continue;
        taken.push(box);
        pictures.add(row);
        this.picture(row).style.transform = `translate(${left}px, ${top}px) translate(-50%, -50%)`;
      }
    }
    for (const [made, kept] of [[this.places, places], [this.pictures, pictures]]) {
      for (const [name, one] of made) {
        if (kept.has(name)) continue;
        one.remove();
        made.delete(name);
      }
    }
  }

  // Where each category is: the middle of its points, the largest first, with its typical image.
  centres() {
    const { colouring } = this;
    if (colouring.centres) return colouring.centres;
    const rows = colouring.labels.map(() => []);
    colouring.codes.forEach((code, row) => rows[code].push(row));
    const middle = (values) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)];
    colouring.centres = rows
      .map((of, code) => {
        if (!of.length) return null;
        const x = middle(of.map((row) => this.x[row]));
        const y = middle(of.map((row) => this.y[row]));
        const away = (row) => (this.x[row] - x) ** 2 + (this.y[row] - y) ** 2;
        const medoid = colouring.medoids?.[code] ?? -1;
        return { code, x, y, size: of.length, row: medoid >= 0 ? medoid : of.reduce((one, other) => (away(other) < away(one) ? other : one)) };
      })
      .filter(Boolean)
      .sort((one, other) => other.size - one.size);
    return colouring.centres;
  }

  place(code, row) {
    const known = this.places.get(code);
    if (known) return known;
    const label = this.colouring.labels[code];
    const made = element("button", { type: "button", class: "place", "data-code": code, title: label }, element("img", { src: thumbnail(this.idOf(row)), alt: "", draggable: "false" }), element("bdi", {}, label));
    made.style.setProperty("--swatch", this.colouring.colours[code]);
    this.view.over.append(made);
    this.places.set(code, made);
    return made;
  }

  picture(row) {
    const known = this.pictures.get(row);
    if (known) return known;
    const made = element("img", { class: "near", src: thumbnail(this.idOf(row)), alt: "", draggable: "false" });
    made.style.setProperty("--swatch", `#${this.colours[row].toString(16).padStart(6, "0")}`);
    this.view.over.append(made);
    this.pictures.set(row, made);
    return made;
  }

  // The list of colours.
  legend() {
    const list = $("legend");
    const { colouring } = this;
    document.querySelectorAll(".legend-tools button").forEach((button) => (button.hidden = !colouring.codes));
    $("legend-remark").hidden = !colouring.codes;
    const search = $("legend-search");
    search.hidden = !colouring.codes || colouring.labels.length < SEARCHED;
    if (search.hidden) search.value = "";
    if (!colouring.codes) {
      const [low, high] = extent(colouring.numbers);
      const scale = element("div", { class: "scale" });
      scale.style.background = `linear-gradient(to right, ${SCALE.join(", ")})`;
      const nothing = colouring.numbers.filter(Number.isNaN).length;
      list.replaceChildren(
        element("li", {}, scale, element("div", { class: "ends" }, element("span", {}, number(low, 2)), element("span", {}, number(high, 2)))),
        ...(nothing ? [element("li", { class: "soft" }, ngettext("{n} image without a number is grey.", "{n} images without a number are grey.", nothing))] : []),
      );
      return;
    }
    list.replaceChildren(...colouring.labels.map((label, code) => this.entry(label, code)));
    this.search();
  }

  entry(label, code) {
    const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = this.colouring.colours[code];
    const isShown = !this.hidden.has(code);
    const show = element("button", { type: "button", class: "show", "aria-pressed": String(isShown) }, swatch, element("bdi", { class: "what" }, label), element("span", { class: "count soft" }, number(this.counts[code])));
    const more = element("button", { type: "button", class: "more", "aria-label": _("More about {name}", { name: label }), "aria-haspopup": "dialog" }, "…");
    return element("li", { "data-code": code }, show, more);
  }

  search() {
    const text = $("legend-search").value.trim().toLocaleLowerCase(language);
    for (const entry of $("legend").children) {
      const label = this.colouring.labels?.[Number(entry.dataset.code)] || "";
      entry.hidden = Boolean(text) && !label.toLocaleLowerCase(language).includes(text);
    }
  }

  show(codes) {
    this.hidden = new Set(this.colouring.labels.keys());
    for (const code of codes) this.hidden.delete(code);
    this.lit = null;
    this.mark();
  }

  toggle(code) {
    if (this.hidden.has(code)) this.hidden.delete(code);
    else this.hidden.add(code);
    this.mark();
  }

  mark() {
    for (const entry of $("legend").children) entry.querySelector(".show")?.setAttribute("aria-pressed", String(!this.hidden.has(Number(entry.dataset.code))));
    this.draw();
  }

  light(code) {
    if (this.lit === code || (code !== null && this.hidden.has(code))) return;
    this.lit = code;
    this.draw();
  }

  // What is shown and done at one category.
  card(code, from) {
    const label = this.colouring.labels[code];
    const node = this.colouring.nodes?.[code];
    const card = $("cluster-card");
    const rows = [...this.colouring.codes.keys()].filter((row) => this.colouring.codes[row] === code);
    const choose = element("button", { type: "button", onclick: () => (this.chooseAll(rows, node, label), card.hidePopover()) }, _("Choose all of it"));
    const alone = element("button", { type: "button", onclick: () => (this.show([code]), card.hidePopover()) }, _("Show it alone"));
    card.replaceChildren(element("h2", {}, element("bdi", {}, label)), element("p", { class: "soft" }, node ? `${node} · ${images(this.counts[code])}` : images(this.counts[code])), element("p", { class: "does-what" }, choose, alone), ...(node ? this.actsOn(node) : []));
    card.showPopover();
    const box = from.getBoundingClientRect();
    const [wide, high] = [card.offsetWidth, card.offsetHeight];
    card.style.left = `${Math.max(8, Math.min(box.left, innerWidth - wide - 8))}px`;
    card.style.top = `${Math.max(8, box.bottom + high + 8 < innerHeight ? box.bottom + 4 : box.top - high - 4)}px`;
    (card.querySelector("form button") || choose).focus();
  }

  actsOn(node) {
    const { base } = this;
    const cluster = this.clusters[node];
    const link = element("a", { href: `${base}/clusters/${encodeURI(node)}` }, _("Open the cluster"));
    if (document.documentElement.dataset.readOnly === "true" || !cluster) return [element("p", {}, link)];
    const subjects = `${node.slice(0, node.lastIndexOf("/"))}\n${node}`;
    if (cluster.isDivided) return [element("p", {}, link), element("p", { class: "soft" }, _("It was divided: colour by the deepest cluster to see how."))];
    if (cluster.size < 2) return [element("p", {}, link)];
    const count = element("input", { type: "number", name: "config.method.kmeans.nb_clusters", min: 2, max: cluster.size, value: 2, inputmode: "numeric" });
    const automatic = element("button", { name: "config.method", value: JSON.stringify({ kmeans: { nb_clusters: -1 } }) }, _("Divide automatically"));
    const form = element("form", { "data-act": "divide", "data-body": JSON.stringify({ node }), "data-subjects": subjects, "data-said": _("{node} was divided.", { node }) }, element("label", {}, _("into"), " ", count), " ", element("button", {}, _("Divide")), " ", automatic);
    return [form, element("p", {}, link)];
  }

  get base() {
    return document.querySelector("meta[name='panoptic-base']").content;
  }

  chooseAll(rows, node, label) {
    if (node) {
      const scope = { node: { node } };
      if (!selection.hasScope(scope)) selection.toggleScope(scope, this.clusters[node].size, label);
      return;
    }
    selection.add(rows.map((row) => this.idOf(row)));
  }

  lasso(rows, polygon, isTakingOut) {
    if (!rows.length) {
      tell(_("There is no image in what you drew around."), { seconds: 4 });
      return;
    }
    if (isTakingOut) {
      this.takeOut(rows);
      return;
    }
    // What is drawn around goes to the server as it was drawn, unless something in it is hidden.
    if (app.dataset.region && this.hidden.size === 0) {
      selection.toggleScope({ region: { projection: app.dataset.region, polygon } }, rows.length, _("a part of the map"));
    } else {
      selection.add(rows.map((row) => this.idOf(row)));
    }
  }

  async takeOut(rows) {
    try {
      for (const { scope } of selection.scopes) if (!selection.resolved.get(JSON.stringify(scope))) selection.resolved.set(JSON.stringify(scope), new Set(await idsOf(scope)));
    } catch (error) {
      refused(error);
      return;
    }
    for (const row of rows) selection.put(this.idOf(row), false);
    selection.changed();
  }

  // The viewer goes on to those that lie nearest on the map.
  open(row) {
    hide();
    const away = (other) => (this.x[other] - this.x[row]) ** 2 + (this.y[other] - this.y[row]) ** 2;
    const near = [...this.view.shown].sort((one, other) => (one === row ? -1 : other === row ? 1 : away(one) - away(other)));
    openViewer(near.slice(0, IN_VIEWER).map((one) => this.idOf(one)), 0);
  }

  hover(row, event) {
    if (row === this.hovered) {
      if (!$("hovered").hidden) beside($("hovered"), event);
      return;
    }
    hide();
    this.hovered = row;
    if (row === null || event.pointerType === "touch") return;
    soon = setTimeout(() => {
      const card = $("hovered");
      const picture = card.querySelector("img");
      picture.src = thumbnail(this.idOf(row));
      picture.alt = this.names[row];
      card.dataset.id = this.idOf(row);
      card.querySelector(".name").textContent = this.names[row];
      card.querySelector(".remark").textContent = this.described(row);
      card.hidden = false;
      beside(card, event);
    }, STAY);
  }

  described(row) {
    const { colouring } = this;
    const said = colouring.codes ? colouring.labels[colouring.codes[row]] : Number.isNaN(colouring.numbers[row]) ? "–" : number(colouring.numbers[row], 3);
    const node = this.nodes[this.nodeOf[row]];
    return node ? `${node} · ${colouring.name}: ${said}` : `${colouring.name}: ${said}`;
  }

  listen() {
    $("colouring").addEventListener("change", (event) => {
      this.wanted = event.target.value;
      const known = this.colourings.find((one) => one.key === this.wanted);
      if (known) this.choose(known);
      else this.loadColours().catch(refused);
      const address = new URL(location.href);
      address.searchParams.set("colour", event.target.value);
      history.replaceState(history.state, "", address);
    });
    const list = $("legend");
    const codeOf = (event) => {
      const entry = event.target.closest("[data-code]");
      return entry ? Number(entry.dataset.code) : null;
    };
    list.addEventListener("click", (event) => {
      const code = codeOf(event);
      if (code === null) return;
      if (event.target.closest(".more")) this.card(code, event.target);
      else if (event.target.closest(".show")) this.toggle(code);
    });
    list.addEventListener("dblclick", (event) => event.target.closest(".show") && this.show([codeOf(event)]));
    for (const place of [list, this.view.over]) {
      for (const [starts, ends] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
        place.addEventListener(starts, (event) => this.light(codeOf(event)));
        place.addEventListener(ends, () => this.light(null));
      }
    }
    this.view.over.addEventListener("click", (event) => {
      const place = event.target.closest(".place");
      if (place) this.card(Number(place.dataset.code), place);
    });
    $("legend-search").addEventListener("input", () => this.search());
    $("show-all").addEventListener("click", () => this.show(this.colouring.labels.keys()));
    $("show-none").addEventListener("click", () => this.show([]));
    $("with-pictures").addEventListener("change", () => this.moved());
    $("zoom-in").addEventListener("click", () => this.view.zoomBy(1.6));
    $("zoom-out").addEventListener("click", () => this.view.zoomBy(1 / 1.6));
    $("zoom-all").addEventListener("click", () => this.view.showAll());
    for (const [id, moves] of [["mode-choose", false], ["mode-move", true]]) $(id).addEventListener("click", () => this.setMode(moves));
    this.setMode(matchMedia("(pointer: coarse)").matches);
    addEventListener("scroll", hide, { passive: true });
    key("m", _("Dragging moves the map, or chooses"), () => this.setMode(!this.view.isMoving));
    key("d", _("Divide the cluster"), () => this.divideAtHand(), () => this.atHand() !== null);
    selection.onChange(() => this.draw());
  }

  setMode(moves) {
    this.view.isMoving = moves;
    $("mode-choose").setAttribute("aria-pressed", String(!moves));
    $("mode-move").setAttribute("aria-pressed", String(moves));
    $("map").classList.toggle("moves", moves);
  }

  // The cluster that a key is about: at the focus, else at the pointer.
  atHand() {
    const place = document.activeElement?.closest("#legend [data-code], .place") || document.querySelector("#legend [data-code]:hover, .place:hover");
    return place && this.colouring?.nodes?.[Number(place.dataset.code)] ? place : null;
  }

  divideAtHand() {
    const place = this.atHand();
    this.card(Number(place.dataset.code), place);
  }
}

let soon = null;

function hide() {
  clearTimeout(soon);
  $("hovered").hidden = true;
}

// Beside the pointer, never over the point.
function beside(card, { clientX, clientY }) {
  const box = card.getBoundingClientRect();
  const left = clientX + 22 + box.width > innerWidth ? clientX - 22 - box.width : clientX + 22;
  const top = Math.min(Math.max(8, clientY - box.height / 2), innerHeight - box.height - 8);
  card.style.left = `${Math.max(8, left)}px`;
  card.style.top = `${top}px`;
}

function extent(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of numbers) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 0];
}

const steps = SCALE.map(packed);

function onScale(share) {
  const at = Math.min(share, 0.99999) * (steps.length - 1);
  const [from, to] = [steps[Math.floor(at)], steps[Math.floor(at) + 1]];
  const part = at % 1;
  const mixed = (shift) => Math.round(((from >> shift) & 255) * (1 - part) + ((to >> shift) & 255) * part);
  return (mixed(16) << 16) | (mixed(8) << 8) | mixed(0);
}

if (app) {
  const page = new MapPage();
  page.load().catch(refused);
  onRefresh(() => page.load().catch(refused));
}
