// Keys: each is said once, works where nobody types, and stands in the list that `?` shows.
import { element } from "./dom.js";
import { _ } from "./language.js";

const known = [];

// Register a key; `name` is as people read it: "d", "Ctrl+Z", "ArrowRight". `when()` says whether
// it has a meaning now; where it has none, the next one of the same name is asked.
export function key(name, what, does, when = () => true) {
  known.unshift({ name, what, does, when });
}

function nameOf(event) {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const letter = event.key.length === 1 ? event.key : event.key;
  // Shift is part of what a sign is; of a letter with Ctrl it is said.
  const shift = event.shiftKey && (event.key.length > 1 || control) ? "Shift+" : "";
  return control + shift + (control && letter.length === 1 ? letter.toUpperCase() : letter);
}

export function typing(event) {
  const target = event.target;
  return target instanceof HTMLElement && (target.isContentEditable || /^(input|textarea|select)$/i.test(target.localName)) && !["checkbox", "radio", "range"].includes(target.type);
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || typing(event)) return;
  const name = nameOf(event);
  const found = known.find((one) => one.name === name && one.when());
  if (!found) return;
  if (found.does(event) !== false) event.preventDefault();
});

export function showKeys() {
  const seen = new Set();
  const rows = known.filter((one) => one.what && !seen.has(one.name + one.what) && seen.add(one.name + one.what));
  const list = element("dl", { class: "keys" });
  for (const one of [...rows].reverse()) list.append(element("div", {}, element("dt", {}, element("kbd", {}, shown(one.name))), element("dd", {}, one.what)));
  const dialog = element("dialog", { class: "card", "aria-labelledby": "keys-title" }, element("h2", { id: "keys-title" }, _("Keys")), list, element("form", { method: "dialog" }, element("button", {}, _("Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function shown(name) {
  const names = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: _("Esc"), " ": _("Space") };
  const parts = name === "+" ? ["+"] : name.split("+");
  return parts.map((part) => names[part] || part).join(" + ");
}
