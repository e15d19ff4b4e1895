// What all pages do: copy a command or the ids of images, and say so.
"use strict";

window.panoptic = (() => {
  let fading;

  function tell(text) {
    const place = document.querySelector(".told");
    place.textContent = text;
    place.classList.add("shown");
    clearTimeout(fading);
    fading = setTimeout(() => place.classList.remove("shown"), 2500);
  }

  async function copy(text, what) {
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
        tell("This browser lets no page copy: select the text and copy it yourself.");
        return;
      }
    }
    tell(`${what} copied`);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button.dataset.copy, "Command");
  });

  return { copy, tell };
})();
