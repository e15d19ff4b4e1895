// Choosing images on a cluster's page, to copy their ids.
"use strict";

(() => {
  const bar = document.querySelector(".chosen");
  if (!bar) return;
  const tiles = [...document.querySelectorAll(".tile")];
  const chosen = () => tiles.filter((tile) => tile.getAttribute("aria-pressed") === "true");

  function show() {
    const count = chosen().length;
    bar.hidden = count === 0;
    bar.querySelector(".count").textContent = count.toLocaleString(document.documentElement.lang);
  }

  function press(tile, pressed) {
    tile.setAttribute("aria-pressed", String(pressed));
  }

  for (const tile of tiles) {
    tile.addEventListener("click", () => {
      press(tile, tile.getAttribute("aria-pressed") !== "true");
      show();
    });
  }
  bar.querySelector(".all").addEventListener("click", () => {
    tiles.forEach((tile) => press(tile, true));
    show();
  });
  bar.querySelector(".none").addEventListener("click", () => {
    tiles.forEach((tile) => press(tile, false));
    show();
  });
  bar.querySelector(".copy-ids").addEventListener("click", () => {
    const ids = chosen().map((tile) => tile.dataset.id);
    window.panoptic.copy(`${ids.join("\n")}\n`, bar.dataset.copied);
  });
})();
