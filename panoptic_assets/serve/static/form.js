// The form for a clustering: only what belongs to the chosen method and images, checked as it is
// typed by what would run it, and then done.
import { act } from "./acts.js";
import { base, isReadOnly, post, read, Refusal, thumbnail } from "./api.js";
import { element } from "./dom.js";
import { _, images, ngettext, number } from "./language.js";
import { onRefresh } from "./refresh.js";
import { selection } from "./selection.js";

const WAIT = 300; // milliseconds after the last key, before a value is checked
const PICTURES = 8;
const MOST_COMPARED = 12;
const NAMED = "chosen-images"; // the choice that no class of the server has

const form = document.getElementById("clustering");
const go = document.getElementById("go");
const given = JSON.parse(form.dataset.given);
const name = form.dataset.actName;
const replace = document.getElementById("replace");
const touched = new Set(); // fields in which somebody was, the last one last: others are not blamed
let proposed = ""; // the key that the run would get
let asked = 0; // the newest check: answers of older ones are dropped
let shownScope = null;

const fieldsNamed = (wanted) => [...form.elements].filter((field) => field.name === wanted);

function merge(into, from) {
  for (const [key, value] of Object.entries(from)) {
    const inner = into[key];
    if (inner && value && typeof inner === "object" && typeof value === "object" && !Array.isArray(value)) merge(inner, value);
    else into[key] = structuredClone(value);
  }
}

function put(body, path, value) {
  const names = path.split(".");
  const last = names.pop();
  let inner = body;
  for (const one of names) inner = inner[one] ??= {};
  inner[last] = value;
}

const plain = {
  integer: (text) => Number(text),
  number: (text) => Number(text),
  boolean: (text) => /^(true|1|yes)$/i.test(text),
  text: (text) => text,
};

// What a field says; undefined where nothing is to be sent.
function valueOf(field) {
  const kind = field.dataset.kind;
  const { onlyWith } = field.dataset;
  if (onlyWith && !onlyWith.split(" ").some((wanted) => form.elements[wanted].value.trim())) return null;
  if (kind === "boolean") return field.checked;
  if (kind === "list") return field.value.split("\n").map((line) => line.trim()).filter(Boolean).map(plain[field.dataset.part]);
  if (kind === "json") return field.value ? JSON.parse(field.value) : undefined;
  if (kind === "choice") return field.value === "" && "optional" in field.dataset ? null : field.value;
  const automatic = form.querySelector(`[data-automatic="${field.id}"]`);
  if (automatic?.checked) return -1;
  const text = field.value.trim();
  if (text === "") return "optional" in field.dataset ? null : kind === "text" ? "" : undefined;
  return plain[kind](text);
}

const isOff = (field) => field.matches(":disabled") && !form.querySelector(`[data-automatic="${field.id}"]`)?.checked;

async function bodyOf() {
  const body = { config: {} };
  merge(body, given);
  for (const choice of form.querySelectorAll("input[type='radio']:checked, [name='scope'] option:checked")) merge(body, JSON.parse(choice.dataset.body || "{}"));
  for (const field of form.querySelectorAll("[data-kind]")) {
    // Of a number that is left to the method the field itself is off, of another method all of it.
    if (field.closest("fieldset:disabled") || isOff(field)) continue;
    if (field.dataset.kind === "chosen") {
      if (field.checked) {
        const names = field.name.split(".");
        const last = names.pop();
        const around = names.reduce((inner, one) => (inner[one] ??= {}), body);
        (around[last] ??= []).push(field.value);
      }
      continue;
    }
    const value = valueOf(field);
    if (value === undefined) continue;
    if (field.dataset.kind === "json") put(body, `${field.name}`, value);
    else put(body, field.name, value);
  }
  if (form.elements.scope?.value === NAMED) Object.assign(body, await chosenImages(body.config));
  return body;
}

// The chosen images as the act takes them: a scope goes as it is.
async function chosenImages(config) {
  const parts = selection.parts();
  if (parts.length === 1 && parts[0].scope) {
    config.scope = parts[0].scope;
    return parts[0].without ? { without: parts[0].without } : {};
  }
  return { images: await selection.all() };
}

// The numbers of clusters where several are asked for, each of which is a run of a sweep.
function several() {
  const tick = [...form.querySelectorAll("[data-several]:checked")].find((one) => !one.closest("fieldset:disabled"));
  if (!tick) return null;
  const field = document.getElementById(`${tick.dataset.several}-several`);
  const numbers = [...new Set(field.value.split(/[\s,;]+/).filter(Boolean).map(Number))];
  return { numbers: numbers.every(Number.isInteger) ? numbers : [], place: document.getElementById(tick.dataset.several).name };
}

// The sweep that a body is with each of these numbers.
function sweepOf({ config }, { numbers }) {
  const [[method, parameters]] = Object.entries(config.method);
  const { features, seed, scope, stability, assign_remainder } = config;
  return { methods: [{ [method]: { ...parameters, nb_clusters: numbers } }], features: [features], seeds: [seed ?? 0], scope: scope || {}, stability: stability ?? 0, assign_remainder: Boolean(assign_remainder) };
}

// The fields of what is chosen are there, all others are not.
function show() {
  for (const around of form.querySelectorAll("[data-of]")) {
    const [group, value] = around.dataset.of.split(":");
    const isChosen = form.elements[group].value === value;
    around.hidden = around.disabled = !isChosen;
  }
  for (const tick of form.querySelectorAll("[data-several]")) {
    document.getElementById(`${tick.dataset.several}-several`).hidden = !tick.checked;
    document.getElementById(tick.dataset.several).disabled = tick.checked;
    const automatic = form.querySelector(`[data-automatic="${tick.dataset.several}"]`);
    if (automatic) automatic.disabled = tick.checked;
    if (automatic && tick.checked) automatic.checked = false;
  }
  for (const tick of form.querySelectorAll("[data-automatic]")) {
    const field = document.getElementById(tick.dataset.automatic);
    if (!tick.disabled) field.disabled = tick.checked;
    field.required = !tick.checked && !("optional" in field.dataset);
    document.getElementById(tick.getAttribute("aria-describedby")).hidden = !tick.checked;
  }
  document.getElementById("of-projection").hidden = !form.elements["config.features"].value.includes("/");
}

// Whether somebody means to replace the run of that name is asked where there is one.
function showReplace(isAsked) {
  if (!replace) return;
  replace.closest(".field").hidden = !isAsked;
  if (!isAsked) replace.checked = false;
}

function clearErrors() {
  for (const said of form.querySelectorAll(".error")) said.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

// What is said beside a field: its name stands there already.
function beside(error) {
  const place = error.field ? error.message.indexOf(error.field) : -1;
  const after = place < 0 ? null : error.message.slice(place + error.field.length).match(/^\s*:\s+(.+)$/s);
  return after ? after[1] : error.message;
}

// Of values that do not go together, which are named, the field that was changed last.
function changedLast(path, said) {
  const names = new Set(said.match(/\w+/g));
  const isOne = (name) => name.startsWith(`config.${path}.`) && names.has(name.split(".").pop());
  return fieldsNamed([...touched].reverse().find(isOne));
}

// A refusal beside its field, or where there is none of it, above the button.
function blame(error, all) {
  const path = error.field || "";
  const wanted = [path, `config.${path}`].filter(() => path);
  const named = wanted.flatMap(fieldsNamed);
  const fields = (named.length ? named : changedLast(path, beside(error))).filter((field) => !field.closest("fieldset:disabled"));
  const [field] = fields;
  if (field && !all && !touched.has(field.name)) {
    document.getElementById("size").textContent = beside(error);
    return;
  }
  if (error.id === "made-with-other-parameters" && form.elements.key) error.message = _("There is a run of this name already, made otherwise: choose another name, or replace it.");
  const place = error.id === "made-with-other-parameters" ? document.getElementById("key-error") : field ? field.closest(".field").querySelector(".error") : wanted.map((one) => form.querySelector(`[data-error="${CSS.escape(one)}"]`)).find(Boolean);
  const said = place || document.getElementById("problem");
  said.textContent = beside(error);
  said.hidden = false;
  for (const one of fields) one.setAttribute("aria-invalid", "true");
  if (all && field) {
    field.closest("details")?.setAttribute("open", "");
    field.focus();
  }
}

function duration(seconds) {
  if (seconds < 1.5) return _("about 1 s");
  if (seconds < 90) return _("about {n} s", { n: number(Math.round(seconds)) });
  return _("about {n} min", { n: number(Math.round(seconds / 60)) });
}

function tellCheck(found) {
  const n = found.nb_images;
  const many = several()?.numbers.length || 1;
  const time = found.seconds === null || found.seconds === undefined ? null : duration(found.seconds * many);
  document.getElementById("size").textContent = time ? _("{images}, {time}", { images: images(n), time }) : images(n);
  if (go) {
    const words = { n: number(n), time };
    if (name === "divide") go.textContent = time ? ngettext("Divide {n} image, {time}", "Divide {n} images, {time}", n, words) : ngettext("Divide {n} image", "Divide {n} images", n);
    else if (several()) go.textContent = ngettext("Make {n} run", "Make {n} runs", many);
    else go.textContent = time ? ngettext("Cluster {n} image, {time}", "Cluster {n} images, {time}", n, words) : ngettext("Cluster {n} image", "Cluster {n} images", n);
  }
  const notes = [...found.notes];
  if (found.takes_long) notes.unshift(_("This takes longer: it goes on while you look at other pages, which tell how far it is."));
  const replaces = found.replaces;
  if (replaces) {
    const below = replaces.below?.length || 0;
    const was = { method: replaces.method, clusters: ngettext("{n} cluster", "{n} clusters", replaces.nb_clusters) };
    notes.unshift(name === "divide" ? _("This cluster is divided already ({method}, {clusters}): that is replaced, and kept in the history.", was) : _("There is a run of this name already ({method}, {clusters}): it is replaced, and kept in the history.", was));
    if (below) notes.splice(1, 0, ngettext("{n} cluster that was divided again is then to be divided anew.", "{n} clusters that were divided again are then to be divided anew.", below));
  }
  const list = document.getElementById("check-notes");
  list.replaceChildren(...notes.map((note) => element("li", {}, note)));
  list.hidden = !notes.length;
  if (found.key && !form.elements.key?.value) proposed = form.elements.key ? found.key : "";
  if (form.elements.key) form.elements.key.placeholder = proposed;
}

// A few of the images that are meant; only when other ones are.
async function showPictures(body) {
  const isNode = given.node || body.config.scope?.node;
  const scope = given.node ? { node: { node: given.node } } : body.config.scope || { corpus: {} };
  const key = JSON.stringify([scope, body.images, body.config.features]);
  if (key === shownScope) return;
  shownScope = key;
  let ids = (body.images || []).slice(0, PICTURES);
  if (!body.images) {
    const features = (body.config.features || "").split("/")[0];
    const searched = scope.text || scope.similar ? { vector_type: features } : {};
    const found = await read("images", { scope: JSON.stringify(scope), limit: PICTURES, ...(isNode ? { order: "nearest" } : {}), ...searched }).catch(() => null);
    ids = (found?.rows || []).map((row) => row.image_id);
  }
  if (key !== shownScope) return;
  document.getElementById("preview").replaceChildren(...ids.map((id) => element("img", { src: thumbnail(id), alt: "", width: 160, height: 160 })));
}

// Whoever has pressed the button (`all`) gets the answer even if the page asks again meanwhile.
async function check(all = false) {
  const mine = ++asked;
  const body = await bodyOf();
  const sweep = several();
  if (sweep && !sweep.numbers.length) {
    clearErrors();
    blame(new Refusal({ text: _("Give whole numbers, such as 5, 10, 20."), field: sweep.place.replace("config.", "") }), true);
    return null;
  }
  if (sweep) put(body, sweep.place, Math.max(...sweep.numbers));
  // A search may have to wait for its model.
  const slow = setTimeout(() => {
    clearErrors();
    document.getElementById("size").textContent = _("Checking …");
  }, 2 * WAIT);
  try {
    const found = await post(`check/${name}`, body).finally(() => clearTimeout(slow));
    if (mine !== asked && !all) return null;
    showReplace(Boolean(found.exists && replace?.checked));
    clearErrors();
    tellCheck(found);
    showPictures(body);
    return { body, found };
  } catch (error) {
    if (mine !== asked && !all) return null;
    clearErrors();
    showReplace(error.id === "made-with-other-parameters" || Boolean(replace?.checked));
    document.getElementById("check-notes").hidden = true;
    document.getElementById("size").textContent = "\u00a0";
    if (go) go.textContent = name === "divide" ? _("Divide") : _("Cluster");
    blame(error, all);
    return null;
  }
}

let waiting = null;
function checkSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(check, WAIT);
}

form.addEventListener("input", (event) => {
  touched.delete(event.target.name);
  if (event.target.name) touched.add(event.target.name);
  show();
  checkSoon();
});
form.addEventListener("focusout", (event) => {
  if (event.target.name && event.target.value) touched.add(event.target.name);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (isReadOnly || form.getAttribute("aria-busy")) return;
  clearTimeout(waiting);
  form.setAttribute("aria-busy", "true");
  go.disabled = true;
  try {
    const checked = await check(true);
    if (!checked) return;
    const { body, found } = checked;
    if (name === "cluster") body.key ||= found.key;
    const sweep = several();
    if (sweep) {
      const made = await act("sweep", { key: body.key, sweep: sweepOf(body, sweep) }, {
        stays: true,
        silent: true,
        onRefused: (error) => {
          blame(error, true);
          return true;
        },
      });
      const runs = Object.values(made || {}).filter((row) => row.status === "done").map((row) => row.key);
      const query = new URLSearchParams(runs.slice(0, MOST_COMPARED).map((key) => ["runs", key]));
      if (made) location.href = runs.length > 1 ? `${base}/compare?${query}` : `${base}/`;
      return;
    }
    const done = await act(name, body, {
      subjects: form.dataset.subjects.split("\n").filter((subject) => name === "divide" && subject),
      stays: true,
      silent: true,
      onRefused: (error) => {
        blame(error, true);
        return true;
      },
    });
    if (done) location.href = name === "divide" ? `${base}/clusters/${encodeURI(given.node)}` : `${base}/runs/${encodeURI(body.key)}`;
  } finally {
    form.removeAttribute("aria-busy");
    go.disabled = false;
  }
});

// The images that somebody has chosen on other pages.
function offerChosen() {
  const option = document.getElementById("chosen-images");
  if (!option) return;
  option.hidden = option.disabled = selection.isEmpty;
  option.textContent = ngettext("The {n} image that you have chosen", "The {n} images that you have chosen", selection.size);
  if (selection.isEmpty && form.elements.scope.value === NAMED) {
    form.elements.scope.value = "corpus";
    show();
  }
  if (form.elements.scope.value === NAMED) checkSoon();
}
selection.onChange(offerChosen);
onRefresh(check);

// The tray leads here with what is chosen.
if (location.hash === `#${NAMED}` && document.getElementById(NAMED) && !selection.isEmpty) form.elements.scope.value = NAMED;
offerChosen();
show();
check();
