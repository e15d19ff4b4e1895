// The tray: what is chosen, and what can be done with it, on every page.
import { act, takeBack } from "./acts.js";
import { api, base, isReadOnly, post, read, thumbnail } from "./api.js";
import { element } from "./dom.js";
import { key } from "./keys.js";
import { _, ngettext } from "./language.js";
import { onRefresh } from "./refresh.js";
import { selection, shownNow } from "./selection.js";
import { refused, tell } from "./told.js";
import { openViewer } from "./viewer.js";

const FEW = 6; // small pictures in it
const MOST_REMARKS = 50;
const MOST_AT_ONCE = 10_000; // ids in one act
const MOST_EXPORTED = 500; // ids in an address
const RECENT = `panoptic-tags:${base}`;

const tray = document.getElementById("tray");
let form = null; // what is being asked for

// Tags that were given last, the newest first.
function recent() {
  try {
    return JSON.parse(localStorage.getItem(RECENT)) || [];
  } catch {
    return [];
  }
}

function remember(property, tag) {
  const rest = recent().filter((one) => one.property !== property || one.tag !== tag);
  try {
    localStorage.setItem(RECENT, JSON.stringify([{ property, tag }, ...rest].slice(0, 9)));
  } catch {
    // Then the keys 1 to 9 do nothing.
  }
}

// One act on all that is chosen. A scope goes as it is; of several, or of some with single images,
// the ids go, so that it is one event; where they are too many, each part is an act.
async function partsOfAct() {
  const parts = selection.parts();
  if (parts.length < 2 || selection.size > MOST_AT_ONCE) return parts;
  return [{ images: await selection.all() }];
}

// Images that were forgotten meanwhile are taken out of what is chosen.
async function dropUnknown() {
  for (const id of [...selection.ids].slice(0, 500)) {
    const answer = await fetch(thumbnail(id), { method: "HEAD" }).catch(() => null);
    if (answer?.status === 404) selection.drop(id);
  }
}

async function forAll(name, body, said) {
  const undone = [];
  let parts;
  try {
    parts = await partsOfAct();
  } catch (error) {
    refused(error);
    return false;
  }
  for (const part of parts) {
    const done = await act(name, { ...body, ...part }, { silent: true, undone, onRefused: (error) => error.id === "no-such-image" && dropUnknown() });
    if (done === null) return false;
  }
  tell(said, { doing: undone.length ? [[_("Undo"), () => takeBack(undone)]] : [] });
  return true;
}

async function giveTag(property, tag) {
  const n = selection.size;
  const body = { tag, property };
  if (!(await forAll("tag", body, ngettext("{n} image has got the tag {tag}.", "{n} images have got the tag {tag}.", n, { tag })))) return false;
  remember(property, tag);
  return true;
}

const properties = new Map(); // paths of the tags of each

async function readTags() {
  const found = new Map();
  for (let offset = 0; ; offset += 500) {
    const { rows, total } = await read("tags", { offset, limit: 500 });
    for (const row of rows) found.set(row.property, [...(found.get(row.property) || []), row.path]);
    if (offset + 500 >= total || offset >= 4500) break;
  }
  properties.clear();
  for (const [name, paths] of found) properties.set(name, paths);
}

// Fields of the forms.

const field = (label, ...inner) => element("label", {}, element("span", {}, label), ...inner);

function propertyField(change) {
  const first = recent()[0]?.property || [...properties.keys()][0] || "Clustering";
  const input = element("input", { name: "property", value: first, list: "tray-properties", autocomplete: "off", maxlength: 200, required: true, onchange: change });
  return [field(_("Property"), input), element("datalist", { id: "tray-properties" }, ...[...properties.keys()].map((name) => element("option", { value: name })))];
}

function tagField(name, label) {
  return field(label, element("input", { name, list: "tray-tags", autocomplete: "off", maxlength: 1000, required: true }));
}

const suggestions = () => element("datalist", { id: "tray-tags" });

function suggest(within) {
  const property = within.elements.property.value;
  within.querySelector("#tray-tags").replaceChildren(...(properties.get(property) || []).map((path) => element("option", { value: path })));
}

// Ask for what an act needs; Enter does it, Esc leaves.
function ask(what, title, fields, button, does) {
  const made = element(
    "form",
    { class: "tray-form", "data-what": what, "aria-label": title, autocomplete: "off" },
    ...fields,
    element("button", { class: "main" }, button),
    element("button", { type: "button", onclick: () => leave() }, _("Leave it")),
  );
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(made, event.submitter));
    const buttons = [...made.querySelectorAll("button")];
    buttons.forEach((one) => (one.disabled = true));
    try {
      if (await does(values)) leave();
    } finally {
      buttons.forEach((one) => (one.disabled = false));
    }
  });
  made.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    leave();
  });
  form = made;
  draw();
  made.querySelector("input, textarea, select, button").focus();
  return made;
}

function leave() {
  const button = form && tray.querySelector(`[data-asks="${form.dataset.what}"]`);
  form = null;
  draw();
  (button?.checkVisibility?.() ? button : tray.querySelector("button"))?.focus();
}

const toTags = async () => {
  await readTags().catch(() => {});
};

async function askTag() {
  await toTags();
  const last = recent();
  const made = ask(
    "tag",
    _("Give a tag"),
    [
      tagField("tag", _("Tag, such as animals > birds")),
      ...propertyField(() => suggest(made)),
      suggestions(),
      last.length
        ? element(
            "div",
            { class: "recent", role: "group", "aria-label": _("The last tags") },
            ...last.map(({ property, tag }, n) => element("button", { type: "button", title: property, onclick: async () => (await giveTag(property, tag)) && leave() }, element("kbd", {}, String(n + 1)), " ", element("bdi", {}, tag))),
          )
        : null,
    ].filter(Boolean),
    _("Give the tag"),
    ({ property, tag }) => giveTag(property.trim(), tag.trim()),
  );
  suggest(made);
}

async function askUntag() {
  await toTags();
  const made = ask("untag", _("Take a tag away"), [tagField("tag", _("Tag")), ...propertyField(() => suggest(made)), suggestions()], _("Take it away"), ({ property, tag }) =>
    forAll("untag", { tag: tag.trim(), property: property.trim() }, _("The tag {tag} was taken away.", { tag })),
  );
  suggest(made);
}

async function askMove() {
  await toTags();
  const made = ask("move", _("Move to another tag"), [tagField("tag", _("From the tag")), tagField("to", _("to the tag")), ...propertyField(() => suggest(made)), suggestions()], _("Move"), ({ property, tag, to }) =>
    forAll("move-tag", { tag: tag.trim(), to: to.trim(), property: property.trim() }, _("Those with the tag {tag} have {to} instead.", { tag, to })),
  );
  suggest(made);
}

// The run that the page is about, if it is about one.
function runHere() {
  const found = decodeURI(location.pathname).slice(base.length).match(/^\/(?:runs|clusters|records)\/([^/]+)/);
  return found?.[1] || new URLSearchParams(location.search).get("run") || "";
}

async function askLeaveOut() {
  const { rows } = await read("runs", { limit: 500 });
  const keys = rows.map((row) => row.key).filter((name) => !name.includes("/"));
  if (!keys.length) {
    tell(_("There is no run yet that they could be left out of."), { wrong: true });
    return;
  }
  const here = runHere();
  const options = keys.map((name) => element("option", { value: name, selected: name === here }, name));
  ask("leave-out", _("Leave out of a run"), [field(_("Run, which is clustered again without them"), element("select", { name: "run" }, ...options))], _("Leave them out"), async ({ run }) => {
    const n = selection.size;
    const undone = [];
    const done = await act("leave-out", { key: run, images: await selection.all() }, { silent: true, undone, what: _("Clustering {run} without them", { run }) });
    if (done === null) return false;
    tell(ngettext("{n} image is left out of {run}.", "{n} images are left out of {run}.", n, { run }), { doing: [[_("Undo"), () => takeBack(undone)]] });
    return true;
  });
}

function askRemark() {
  if (selection.size > MOST_REMARKS) {
    tell(_("A remark is written on {n} images at most: choose fewer, or remark on their cluster or tag.", { n: MOST_REMARKS }), { wrong: true });
    return;
  }
  ask("remark", _("Write a remark"), [field(_("Remark on each of them; empty takes it away"), element("textarea", { name: "text", rows: 2, maxlength: 2000 }))], _("Keep the remark"), async ({ text }) => {
    const undone = [];
    const ids = await selection.all();
    for (const id of ids) {
      if ((await act("remark", { subject: id, text: text.trim() }, { silent: true, undone, stays: id !== ids.at(-1) })) === null) break;
    }
    if (!undone.length) return false;
    tell(ngettext("{n} image has the remark.", "{n} images have the remark.", undone.length), { doing: [[_("Undo"), () => takeBack(undone)]] });
    return true;
  });
}

// What the configuration of a clustering takes: a scope, or images; and what is left out.
async function clustered() {
  const parts = selection.parts();
  const [only] = parts;
  if (parts.length === 1 && only.scope) return { body: only.without ? { without: only.without } : {}, config: { scope: only.scope } };
  return { body: { images: await selection.all() }, config: {} };
}

async function askCluster() {
  const { body, config } = await clustered();
  const automatic = { kmeans: { nb_clusters: -1 } };
  const proposed = await post("check/cluster", { key: "", ...body, config: { ...config, method: automatic } }).catch(() => null);
  ask(
    "cluster",
    _("Cluster them"),
    [
      field(_("Name of the run"), element("input", { name: "key", value: proposed?.key || "", required: true, maxlength: 100 })),
      field(_("Clusters; empty: chosen automatically"), element("input", { name: "number", type: "number", min: 2, max: Math.max(2, selection.size), inputmode: "numeric" })),
      element("a", { class: "button", href: `${base}/new#chosen-images` }, _("More choices")),
    ],
    _("Cluster them"),
    async ({ key: name, number }) => {
      const method = number ? { kmeans: { nb_clusters: Number(number) } } : automatic;
      const done = await act("cluster", { key: name.trim(), ...body, config: { ...config, method } }, { stays: true, said: _("They are clustered as {key}.", { key: name }) });
      if (done === null) return false;
      location.href = `${base}/runs/${encodeURI(done.key || name.trim())}`;
      return true;
    },
  );
}

async function exported(format, more = {}) {
  const query = new URLSearchParams({ format, ...more });
  const parts = selection.parts();
  if (parts.length === 1 && parts[0].scope && !parts[0].without) {
    query.set("scope", JSON.stringify(parts[0].scope));
  } else {
    const ids = await selection.all();
    if (ids.length > MOST_EXPORTED) {
      tell(_("More than {n} images one by one cannot be exported: give them a tag, and export all images of the tag.", { n: MOST_EXPORTED }), { wrong: true });
      return;
    }
    for (const id of ids) query.append("image", id);
  }
  // What is refused is told here, and no page of its own.
  const address = `${api}/export-images?${query}`;
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok) {
    const said = await answer?.json().catch(() => null);
    tell(said?.error?.text || _("The server does not answer: is “panoptic-assets ui” still running?"), { wrong: true });
    return;
  }
  const link = element("a", { href: URL.createObjectURL(await answer.blob()), download: `images.${format}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function askExport() {
  const kinds = [
    ["csv", _("A table (CSV): paths, sizes, tags")],
    ["zip", _("The pictures (zip)")],
  ];
  const choices = kinds.map(([value, text], n) => element("label", { class: "choice" }, element("input", { type: "radio", name: "format", value, checked: n === 0 }), " ", text));
  ask("export", _("Export them"), [element("div", { class: "choices", role: "radiogroup", "aria-label": _("What to export") }, ...choices)], _("Export"), async ({ format }) => {
    await exported(format);
    return true;
  });
}

const mayCompare = () => selection.size >= 2 && selection.size <= 4;
async function compare() {
  openViewer(await selection.all(), 0, { together: true });
}

const ACTS = [
  { asks: "tag", text: () => _("Tag"), sign: "t", does: askTag, changes: true },
  { asks: "cluster", text: () => _("Cluster"), does: askCluster, changes: true },
  { asks: "compare", text: () => _("Compare"), sign: "c", does: compare, when: mayCompare },
  { asks: "untag", text: () => _("Take a tag away"), does: askUntag, changes: true, more: true },
  { asks: "move", text: () => _("Move to another tag"), does: askMove, changes: true, more: true },
  { asks: "leave-out", text: () => _("Leave out of a run"), does: askLeaveOut, changes: true, more: true },
  { asks: "remark", text: () => _("Write a remark"), does: askRemark, changes: true, more: true },
  { asks: "export", text: () => _("Export"), does: askExport, more: true },
];

const button = ({ asks, text, sign, does }) =>
  element("button", { type: "button", "data-asks": asks, onclick: () => Promise.resolve(does()).catch((error) => refused(error)) }, text(), ...(sign ? [" ", element("kbd", { "aria-hidden": "true" }, sign)] : []));

let opened = false; // whether the rest of the acts is shown

function outside() {
  const here = new Set(shownNow().filter((tile) => selection.has(tile.id, tile.around)).map((tile) => tile.id));
  return Math.max(0, selection.size - (selection.counted?.() ?? here.size));
}

const said = element("p", { class: "count", role: "status" });
const few = element("ul", { class: "few" });
const does = element("div", { class: "does" });
const room = element("div", { class: "asked" });
tray.append(room, said, few, does);

let wasOf = "";

function draw() {
  tray.hidden = selection.isEmpty;
  document.body.classList.toggle("with-tray", !tray.hidden);
  if (tray.hidden) {
    form = null;
    opened = false;
    room.replaceChildren();
    wasOf = "";
    return;
  }
  const n = selection.size;
  const elsewhere = outside();
  const text = ngettext("{n} image is chosen", "{n} images are chosen", n);
  const rest = elsewhere ? ngettext("{n} of them is not on this page", "{n} of them are not on this page", elsewhere) : "";
  const labels = selection.scopes.map((one) => one.label).filter(Boolean).join(", ");
  const line = [text, rest, labels].join("\n");
  if (line !== wasOf) {
    wasOf = line;
    said.replaceChildren(element("strong", {}, text), ...(labels ? [" ", element("bdi", { class: "soft" }, labels)] : []), ...(rest ? [" ", element("span", { class: "soft" }, rest)] : []));
  }
  const ids = selection.first(FEW);
  if (ids.join() !== few.dataset.ids) {
    few.dataset.ids = ids.join();
    few.replaceChildren(
      ...ids.map((id, place) => {
        const picture = element("img", { src: thumbnail(id), alt: "", width: 40, height: 40, onerror: () => dropUnknown() });
        return element("li", {}, element("button", { type: "button", "aria-label": _("Look at the chosen image {n}", { n: place + 1 }), onclick: async () => openViewer(await selection.all(), place) }, picture));
      }),
    );
  }
  const shown = ACTS.filter((one) => (!one.changes || !isReadOnly) && (!one.when || one.when()));
  const focused = does.contains(document.activeElement) ? document.activeElement.dataset.asks : null;
  does.replaceChildren(
    ...shown.filter((one) => !one.more || opened).map(button),
    element("button", { type: "button", "data-asks": "more", "aria-expanded": String(opened), onclick: () => ((opened = !opened), draw()) }, opened ? _("Less") : _("More")),
    element("button", { type: "button", "data-asks": "clear", onclick: () => selection.clear() }, _("Choose none"), " ", element("kbd", { "aria-hidden": "true" }, _("Esc"))),
  );
  if (focused) does.querySelector(`[data-asks="${focused}"]`)?.focus();
  if (room.firstChild !== form) room.replaceChildren(...(form ? [form] : []));
}

const may = () => !selection.isEmpty && !isReadOnly;
key("t", _("Give the chosen images a tag"), askTag, may);
key("c", _("Compare two to four chosen images"), compare, mayCompare);
for (let n = 1; n <= 9; n += 1) {
  key(
    String(n),
    n === 1 ? _("1 to 9: give one of the last tags again") : "",
    () => {
      const { property, tag } = recent()[n - 1];
      giveTag(property, tag);
    },
    () => may() && recent().length >= n,
  );
}

// What else lies at the bottom keeps above it.
new ResizeObserver(() => document.documentElement.style.setProperty("--tray", `${tray.offsetHeight}px`)).observe(tray);

selection.onChange(draw);
onRefresh(draw);
draw();
