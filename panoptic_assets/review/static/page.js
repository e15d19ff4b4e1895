// What all pages do: copy a command or the ids of images, and say so.
"use strict";

window.panoptic = (() => {
  const place = () => document.querySelector(".told"); // which has the texts, in the page's language
  let fading;

  function tell(text) {
    place().textContent = text;
    place().classList.add("shown");
    clearTimeout(fading);
    fading = setTimeout(() => place().classList.remove("shown"), 2500);
  }

  // Copy a text, and tell `said`.
  async function copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without https, and elsewhere than on this machine, a browser has no clipboard to write to.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      if (!copied) {
        tell(place().dataset.refused);
        return;
      }
    }
    tell(said);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button.dataset.copy, place().dataset.copied);
  });

  return { copy, tell };
})();
