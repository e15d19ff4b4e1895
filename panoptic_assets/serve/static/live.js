// What every live page does: keys, undo, who acts, and being as the store is now.
import { followOthers, redoLast, undoLast } from "./acts.js";
import { post } from "./api.js";
import { key, showKeys } from "./keys.js";
import { _ } from "./language.js";
import { watch } from "./refresh.js";
import { refused, tell } from "./told.js";
import "./tray.js";

key("?", _("Show all keys"), showKeys);
key("Ctrl+Z", _("Undo the last act"), undoLast);
key("Ctrl+Shift+Z", _("Do it again"), redoLast);
document.getElementById("show-keys").addEventListener("click", showKeys);

document.getElementById("who").addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = event.target.elements.name.value.trim();
  try {
    await post("/panoptic/who", { name: name || null });
    tell(name ? _("What you do is kept under the name {name}.", { name }) : _("What you do is kept under the name of the server’s user."));
    if (name) document.documentElement.dataset.author = name;
    document.querySelector("[popovertarget='who-card'] bdi").textContent = name || _("Who are you?");
    document.getElementById("who-card").hidePopover();
  } catch (error) {
    refused(error);
  }
});

watch();
followOthers().catch(() => {});
