// The first page: reading what is new, also where a folder is gone for good.
import { act } from "./acts.js";
import { base } from "./api.js";
import { key } from "./keys.js";
import { _, images } from "./language.js";
import { tell } from "./told.js";

async function readImages(button, body = {}) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  await act("refresh", body, {
    said: (corpus) => _("Read: the corpus has {images}.", { images: images(corpus?.nb_images ?? 0) }),
    onRefused: (error) => {
      if (error.id !== "corpus-or-folder-missing") return false;
      // They may be on a disk that is away, or gone for good: somebody must know which.
      tell(error.message, { wrong: true, doing: [[_("They are gone for good: go on without them"), () => readImages(button, { accepted: error.values.answer })]] });
      return true;
    },
  });
  button.removeAttribute("aria-busy");
  button.disabled = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-refresh]");
  if (button) readImages(button, button.dataset.accepted ? { accepted: button.dataset.accepted } : {});
});

key("n", _("New clustering"), () => (location.href = `${base}/new`));
