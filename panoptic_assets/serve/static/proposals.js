// What is recommended for tags: each image is accepted or refused, alone or with all chosen ones.
import { isReadOnly } from "./api.js";
import { edit } from "./edits.js";
import { key } from "./keys.js";
import { _, ngettext } from "./language.js";
import { onRefresh, refresh } from "./refresh.js";
import { selection } from "./selection.js";

const tiles = () => [...document.querySelectorAll(".proposal")];
const listOf = (tile) => tile.closest(".proposals");
const nameOf = (tile) => `${tile.dataset.proposed}/${tile.dataset.id}`;

const pending = new Set(); // judged here, and not yet in the store

function atHand() {
  return document.activeElement?.closest(".proposal") || document.querySelector(".proposal:hover");
}

// The chosen ones if the one at hand is one of them, else that one alone.
function targets() {
  const tile = atHand();
  const chosen = tiles().filter((one) => selection.has(one.dataset.id));
  if (tile && !chosen.includes(tile)) return [tile];
  return chosen;
}

// The focus goes on to the next image, on the same button if it was on one.
function moveFocus(gone) {
  const here = document.activeElement?.closest(".proposal");
  if (!here || !gone.includes(here)) return;
  const all = tiles();
  const place = all.indexOf(here);
  const next = [...all.slice(place), ...all.slice(0, place).reverse()].find((tile) => !gone.includes(tile));
  const pressed = document.activeElement.dataset.judge;
  const to = next && pressed ? next.querySelector(`[data-judge="${pressed}"]`) : next;
  (to || document.querySelector(".compute button"))?.focus({ preventScroll: !to });
}

function judge(kind, judged) {
  if (isReadOnly || !judged.length) return;
  moveFocus(judged);
  const byList = grouped(judged);
  for (const tile of judged) {
    pending.add(nameOf(tile));
    selection.put(tile.dataset.id, false);
  }
  selection.changed();
  for (const [list, mine] of byList) decide(kind, list.dataset, mine);
  hidePending();
}

function grouped(judged) {
  const found = new Map();
  for (const tile of judged) found.set(listOf(tile), [...(found.get(listOf(tile)) || []), tile]);
  return found;
}

async function decide(kind, { property, tagId, path }, mine) {
  const names = mine.map(nameOf);
  const n = mine.length;
  const said =
    kind === "accept"
      ? ngettext("{n} image has the tag “{path}” now.", "{n} images have the tag “{path}” now.", n, { path })
      : ngettext("{n} image was refused for “{path}”.", "{n} images were refused for “{path}”.", n, { path });
  const images = mine.map((tile) => tile.dataset.id);
  const done = await edit(property, [{ [kind]: { tag: tagId, images, property } }], { said, together: true });
  for (const name of names) pending.delete(name);
  if (!done) refresh();
}

// They are gone at once; what is refused by the server comes back.
function hidePending() {
  for (const tile of tiles()) if (pending.has(nameOf(tile))) tile.closest("li").remove();
}

document.addEventListener("click", (event) => {
  const one = event.target.closest("[data-judge]");
  if (one) return judge(one.dataset.judge, [one.closest(".proposal")]);
  const all = event.target.closest("[data-judge-all]");
  if (!all) return;
  const list = all.closest(".group-acts").nextElementSibling;
  judge(all.dataset.judgeAll, [...list.querySelectorAll(".proposal")]);
});

if (!isReadOnly) {
  key("a", _("Accept the image, or all chosen ones"), () => judge("accept", targets()), () => targets().length > 0);
  key("r", _("Refuse the image, or all chosen ones"), () => judge("refuse", targets()), () => targets().length > 0);
}

onRefresh(hidePending);
