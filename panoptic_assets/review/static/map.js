// The map: points by Plotly, colours, the thumbnail under the pointer, images in a lasso.
"use strict";

(() => {
  const data = window.panopticMap;
  const place = document.getElementById("map");
  const texts = JSON.parse(place.dataset.texts);
  const number = (value, digits = 0) => value.toLocaleString(texts.language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const PICTURES = 60; // of the chosen images
  const FEW = 2000; // points that SVG draws at ease, without WebGL
  const WITHOUT_WEBGL = 5000; // points that SVG can bear
  // Viridis: evenly bright steps, for people with colour-blindness too (Smith and van der Walt, 2015).
  const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];

  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const x = new Float32Array(bytes(data.x).buffer);
  const y = new Float32Array(bytes(data.y).buffer);
  const nodeOf = new Uint32Array(bytes(data.nodeOf).buffer);
  const ids = bytes(data.ids);
  for (const colouring of data.colourings) {
    if (colouring.codes) colouring.codes = bytes(colouring.codes);
    else colouring.numbers = new Float32Array(bytes(colouring.numbers).buffer);
  }
  const up = new URL("../../", document.baseURI);

  let colouring = data.colourings[0];
  let hidden = new Set();
  let drawn = []; // the row of each point that is drawn

  function idOf(row) {
    let id = "";
    for (let place = 32 * row; place < 32 * row + 32; place++) id += ids[place].toString(16).padStart(2, "0");
    return id;
  }

  function thumbnail(row) {
    const id = idOf(row);
    return new URL(`thumbnails/${id.slice(0, 2)}/${id}.webp`, up).href;
  }

  function hasWebGl() {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl"));
  }

  // Every n-th row, so that each part of the map is thinned out alike.
  function thinned(rows, most) {
    const step = rows.length / most;
    return rows.length <= most ? rows : Array.from({ length: most }, (_, place) => rows[Math.floor(place * step)]);
  }

  function extent(numbers) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of numbers) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return low <= high ? [low, high] : [0, 0];
  }

  function colours() {
    if (colouring.codes) return drawn.map((row) => colouring.colours[colouring.codes[row]]);
    return drawn.map((row) => (Number.isNaN(colouring.numbers[row]) ? null : colouring.numbers[row]));
  }

  function draw() {
    let rows = Array.from(x.keys());
    if (colouring.codes) rows = rows.filter((row) => !hidden.has(colouring.codes[row]));
    let type = "scatter";
    let remark = "";
    if (x.length > FEW) {
      if (hasWebGl()) {
        type = "scattergl";
      } else if (rows.length > WITHOUT_WEBGL) {
        remark = texts.thinned.replace("{n}", number(WITHOUT_WEBGL));
        rows = thinned(rows, WITHOUT_WEBGL);
      }
    }
    document.getElementById("map-remark").textContent = remark;
    drawn = rows;
    const style = getComputedStyle(document.documentElement);
    const marker = { color: colours(), size: x.length > 20000 ? 3 : x.length > FEW ? 5 : 8, line: { width: 0 } };
    if (!colouring.codes) {
      const [low, high] = extent(colouring.numbers);
      const steps = SCALE.map((colour, number) => [number / (SCALE.length - 1), colour]);
      Object.assign(marker, { colorscale: steps, cmin: low, cmax: high });
    }
    const trace = {
      type,
      mode: "markers",
      x: Float32Array.from(rows, (row) => x[row]),
      y: Float32Array.from(rows, (row) => y[row]),
      marker,
      hoverinfo: "none",
      selected: { marker: { opacity: 1 } },
      unselected: { marker: { opacity: 0.15 } },
    };
    const axis = { visible: false, zeroline: false, showgrid: false };
    const layout = {
      autosize: true,
      margin: { l: 8, r: 8, t: 8, b: 8 },
      paper_bgcolor: style.getPropertyValue("--card"),
      plot_bgcolor: style.getPropertyValue("--card"),
      font: { color: style.getPropertyValue("--ink") },
      modebar: { orientation: "v", bgcolor: "rgba(0,0,0,0)", color: style.getPropertyValue("--soft"), activecolor: style.getPropertyValue("--accent") },
      showlegend: false,
      hovermode: "closest",
      dragmode: matchMedia("(pointer: coarse)").matches ? "pan" : "lasso",
      newselection: { line: { color: style.getPropertyValue("--accent"), width: 2, dash: "solid" } },
      uirevision: "kept", // a zoom stays when the colours change
      xaxis: axis,
      yaxis: { ...axis, scaleanchor: "x" },
    };
    const config = {
      responsive: true,
      displaylogo: false,
      displayModeBar: true,
      scrollZoom: true,
      modeBarButtons: [["lasso2d", "select2d", "pan2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]],
    };
    return window.Plotly.react(place, [trace], layout, config);
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
    made.append(...children);
    return made;
  }

  function legend() {
    const list = document.getElementById("legend");
    const tools = document.querySelector(".legend-tools");
    list.replaceChildren();
    tools.hidden = !colouring.codes;
    if (!colouring.codes) {
      const [low, high] = extent(colouring.numbers);
      const scale = element("div", { class: "scale" });
      scale.style.background = `linear-gradient(to right, ${SCALE.join(", ")})`;
      const ends = element("div", { class: "ends" }, element("span", {}, number(low, 2)), element("span", {}, number(high, 2)));
      list.append(element("li", {}, scale, ends));
      return;
    }
    const counts = new Uint32Array(colouring.labels.length);
    for (const code of colouring.codes) counts[code]++;
    colouring.labels.forEach((label, code) => {
      const box = element("input", { type: "checkbox" });
      box.checked = !hidden.has(code);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(code);
        else hidden.add(code);
        draw();
      });
      const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.background = colouring.colours[code];
      const count = element("span", { class: "soft" }, number(counts[code]));
      list.append(element("li", {}, element("label", {}, box, swatch, element("span", { class: "what" }, label), count)));
    });
  }

  function described(row) {
    const node = data.nodes[nodeOf[row]];
    if (!colouring.codes) return `${node} · ${colouring.name} ${number(colouring.numbers[row], 3)}`;
    const label = colouring.labels[colouring.codes[row]];
    return colouring === data.colourings[0] ? `${node} · ${label}` : `${node} · ${colouring.name}: ${label}`;
  }

  const card = document.getElementById("hovered");

  function hide() {
    card.hidden = true;
    window.Plotly.Fx.unhover(place); // or it would not say when the pointer comes back to this point
  }

  function hover(event) {
    // While a lasso is drawn, the points are what is looked at.
    if (event.event.buttons) return;
    const row = drawn[event.points[0].pointNumber];
    card.dataset.row = row;
    card.querySelector("img").src = thumbnail(row);
    card.querySelector("img").alt = data.names[row];
    card.querySelector(".name").textContent = data.names[row];
    card.querySelector(".remark").textContent = described(row);
    card.hidden = false;
    const { clientX, clientY } = event.event;
    const box = card.getBoundingClientRect();
    const left = clientX + 18 + box.width > innerWidth ? clientX - 18 - box.width : clientX + 18;
    const top = Math.min(Math.max(8, clientY - box.height / 2), innerHeight - box.height - 8);
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${top}px`;
  }

  const section = document.getElementById("selection");
  let address = "";

  function select(event) {
    hide();
    const rows = event ? event.points.map((point) => drawn[point.pointNumber]) : [];
    section.hidden = rows.length === 0;
    if (!rows.length) return;
    rows.sort((one, other) => one - other);
    const text = `${rows.map(idOf).join("\n")}\n`;
    section.querySelector(".count").textContent = number(rows.length);
    section.querySelector("textarea").value = text;
    URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    document.getElementById("download").href = address;
    const list = section.querySelector(".gallery");
    list.replaceChildren(
      ...rows.slice(0, PICTURES).map((row) => {
        const name = data.names[row];
        return element("li", {}, element("img", { src: thumbnail(row), alt: name, title: name, loading: "lazy" }));
      }),
    );
    if (rows.length > PICTURES) list.append(element("li", { class: "soft" }, texts.more.replace("{n}", number(rows.length - PICTURES))));
  }

  section.querySelector(".copy-ids").addEventListener("click", () => {
    window.panoptic.copy(section.querySelector("textarea").value, texts.ids);
  });

  const choice = document.getElementById("colouring");
  data.colourings.forEach((one, number) => choice.append(element("option", { value: number }, one.name)));
  choice.addEventListener("change", () => {
    colouring = data.colourings[Number(choice.value)];
    hidden = new Set();
    legend();
    draw();
  });
  for (const [button, shown] of [["show-all", true], ["show-none", false]]) {
    document.getElementById(button).addEventListener("click", () => {
      hidden = new Set(shown ? [] : colouring.labels.keys());
      legend();
      draw();
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  legend();
  draw().then(() => {
    place.on("plotly_hover", hover);
    place.on("plotly_unhover", () => { card.hidden = true; });
    place.on("plotly_selected", select);
    place.addEventListener("pointerleave", hide);
    place.addEventListener("pointerdown", hide);
    addEventListener("scroll", hide, { passive: true });
    place.on("plotly_deselect", () => select(null));
    place.dataset.ready = "true";
  });
})();
