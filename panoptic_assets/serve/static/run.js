// The pages of a run: naming, keys, cuts that are refused, what a vision model costs, removing.
import { act, bodyOf } from "./acts.js";
import { post, read } from "./api.js";
import { element } from "./dom.js";
import { key } from "./keys.js";
import { _, ngettext, number } from "./language.js";
import { onRefresh } from "./refresh.js";
import { refused } from "./told.js";
import { selection } from "./selection.js";

// The cluster that a key is about: the focused one, else the one below the pointer, else the page's.
function nodeAtHand() {
  const focused = document.activeElement?.closest("main [data-node]");
  const hovered = [...document.querySelectorAll("main [data-node]:hover")].pop();
  return focused || hovered || document.querySelector("main .top-heading[data-node]");
}

const around = (node) => [...document.querySelectorAll("main [data-node]")].filter((one) => one.dataset.node === node);

// What of a cluster is its own, and not of the clusters in it.
function own(selector) {
  const at = nodeAtHand();
  if (!at) return null;
  for (const place of around(at.dataset.node)) {
    const found = [...place.querySelectorAll(selector)].find((one) => one.closest("[data-node]") === place);
    if (found) return found;
  }
  return null;
}

function unfold(inside) {
  for (let place = inside.closest("details"); place; place = place.parentElement.closest("details")) place.open = true;
}

function into(selector) {
  const field = own(selector);
  if (!field) return false;
  unfold(field);
  field.focus();
  field.select?.();
  return true;
}

key("d", _("Divide the cluster: type how many, then Enter"), () => into(".dividing input"), () => Boolean(own(".dividing input")));
key("D", _("Divide the cluster automatically"), () => own(".dividing button[name]").click(), () => Boolean(own(".dividing button[name]")));
key("n", _("Name the cluster"), () => into(".naming input"), () => Boolean(own(".naming input")));
key("t", _("Make the cluster a tag"), () => into(".tagging input"), () => selection.isEmpty && Boolean(own(".tagging input")));
key("c", _("Choose all images of the cluster"), () => own("[data-choose-scope]").click(), () => Boolean(own("[data-choose-scope]")) && !document.activeElement?.closest("[data-id]"));

// Names and tags, typed in place.

document.addEventListener("keydown", (event) => {
  const field = event.target.closest?.(".naming input, .tagging input, .dividing input");
  if (!field || event.key !== "Escape") return;
  event.stopPropagation();
  field.value = field.defaultValue;
  field.blur();
});

// Who clicks elsewhere has typed the name to keep it.
document.addEventListener("focusout", (event) => {
  const field = event.target.closest?.(".naming input");
  if (!field || field.value === field.defaultValue || field.dataset.refused === field.value) return;
  if (field.form.getAttribute("aria-busy") !== "true") field.form.requestSubmit();
});

onRefresh(() => {
  for (const field of document.querySelectorAll(".naming input, .tagging input")) {
    if (field !== document.activeElement || field.form.getAttribute("aria-busy") === "true") field.value = field.defaultValue;
  }
});

// A cut that is refused: what is said stands at the cluster, with a way out.

document.addEventListener("act-refused", (event) => {
  const { target, detail } = event;
  if (target.matches(".naming")) target.elements.name.dataset.refused = target.elements.name.value;
  if (target.dataset.act !== "divide" || detail.id === "changed-meanwhile") return;
  const { node } = JSON.parse(target.dataset.body);
  const place = around(node).find((one) => one.querySelector("template[data-force]")) || target.closest("[data-node]");
  if (!place) return;
  event.preventDefault();
  place.querySelectorAll(":scope > .refused-here").forEach((old) => old.remove());
  const said = element("div", { class: "note refused-here", role: "alert", "data-kept": true }, element("p", {}, detail.message));
  const forcing = [...place.querySelectorAll("template[data-force]")].find((one) => one.dataset.force === node);
  if (forcing) said.append(forcing.content.cloneNode(true));
  place.append(said);
});

onRefresh(() => {
  for (const old of document.querySelectorAll(".refused-here")) {
    const place = old.parentElement;
    if (place.querySelector(":scope > .below, :scope > .whole")) old.remove();
  }
});
document.addEventListener("submit", (event) => event.target.closest(".forcing")?.closest(".refused-here")?.remove());

// What a vision language model would take is said before anything is sent.

let asking = 0;
async function sayCost(form) {
  const mine = (asking += 1);
  const place = form.querySelector(".cost");
  try {
    const { cost } = await post("check/label", bodyOf(form));
    if (mine === asking) place.textContent = costOf(cost);
  } catch (error) {
    if (mine === asking) place.textContent = error.message;
  }
}

function costOf(cost) {
  if (!cost) return _("Nothing is sent anywhere.");
  const requests = ngettext("{n} request", "{n} requests", cost.nb_requests);
  const pictures = ngettext("{n} picture", "{n} pictures", cost.nb_pictures);
  const said = cost.nb_requests
    ? [_("{requests} with {pictures} in all go to {host}; about {n} tokens at most.", { requests, pictures, host: cost.host, n: number(cost.tokens) })]
    : [_("Nothing is asked: all answers are known.")];
  if (cost.nb_known && cost.nb_requests) said.push(ngettext("{n} answer is known already.", "{n} answers are known already.", cost.nb_known));
  if (cost.cost !== null) said.push(_("It costs {cost} at most, in the currency of the prices.", { cost: number(cost.cost, 4) }));
  if (cost.in_clear) said.push(_("They go over the network unencrypted."));
  return said.join(" ");
}

document.addEventListener("toggle", (event) => event.newState === "open" && event.target.querySelectorAll("form[data-cost]").forEach(sayCost), true);
document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form[data-cost]");
  if (form) sayCost(form);
});

// Removing a run: what depends on it is told before; where nothing does, it is one click.

const removal = (run, withTags = false) => act("remove", { key: run, with_tags: withTags }, { subjects: [run, `tree:${run}`], said: _("The run {run} was removed.", { run }) });

document.addEventListener("click", async (event) => {
  const button = event.target.closest("#remove-run");
  if (!button) return;
  const { run } = button.dataset;
  let told;
  try {
    told = await read(`removal/${run}`);
  } catch (error) {
    return refused(error);
  }
  if (!told.tags.length && !told.runs.length && !told.sweeps.length) {
    removal(run);
    return;
  }
  const words = document.getElementById("remove-words");
  const close = (then) => () => (words.hidePopover(), then());
  const depends = [
    ...told.tags.map((tag) => ngettext("{n} tag of {property} was saved from it: it stays, unless it goes too.", "{n} tags of {property} were saved from it: they stay, unless they go too.", tag.nb_tags, { property: tag.property })),
    ...told.runs.map((other) => _("The run {run} was made from it, and stays.", { run: other })),
    ...told.sweeps.map((sweep) => _("It is a run of the sweep {sweep}.", { sweep })),
  ];
  words.replaceChildren(
    element("h2", {}, _("Remove the run {run}?", { run })),
    element("ul", {}, ...depends.map((text) => element("li", {}, text))),
    element("p", { class: "soft" }, _("It can be undone.")),
    element(
      "div",
      { class: "acts" },
      element("button", { type: "button", class: "first", onclick: close(() => removal(run)) }, _("Remove the run alone")),
      told.tags.length ? element("button", { type: "button", onclick: close(() => removal(run, true)) }, _("Remove it with its tags")) : null,
      element("button", { type: "button", class: "quiet", onclick: close(() => {}) }, _("Leave it")),
    ),
  );
  words.showPopover();
});
