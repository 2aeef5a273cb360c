"use strict";
// In a page that is one file, pictures are held once: in the first place that shows them, or here.
const inlined = JSON.parse(document.getElementById("inlined")?.textContent ?? "{}");
for (const first of document.querySelectorAll("[data-path]")) inlined[first.dataset.path] = first.getAttribute("src");
for (const again of document.querySelectorAll("[data-inlined]")) again.src = inlined[again.dataset.inlined];
const address = (path) => inlined[path] ?? path;

const make = (tag, kind, text) => {
  const one = document.createElement(tag);
  if (kind) one.className = kind;
  if (text !== undefined) one.textContent = text;
  return one;
};
const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const unbroken = (text) => text.replaceAll(" %", "\u00a0%");

// Over a picture lies what the segmenter saw: all labels, or one class. One file holds them all,
// one below the other, of which --tile is seen.
const show = (layer, choice) => {
  layer.hidden = choice === "none" || !layer.hasAttribute("src");
  layer.style.setProperty("--tile", choice === "labels" ? 0 : layer.dataset.tile);
  layer.closest("figure").querySelector(".legend").hidden = choice !== "labels";
};
const cover = (figure, { tiles, tile, legend }, label, choice) => {
  const layer = figure.querySelector(".tiles-over");
  const entries = figure.querySelector(".legend");
  entries.replaceChildren();
  layer.removeAttribute("src");
  if (tiles) {
    layer.src = address(tiles);
    layer.dataset.tile = tile[label];
    layer.style.setProperty("--tiles", 1 + Object.keys(tile).length);
    for (const [name, share, colour] of legend) {
      const entry = make("span");
      const swatch = make("span", "swatch");
      swatch.style.background = colour;
      entry.append(swatch, unbroken(`${name} ${share}`));
      entries.append(entry, " ");
    }
  }
  show(layer, choice);
};
// One choice for all pictures of a part.
const lay = (part, choice) => {
  part.querySelectorAll(".tiles-over").forEach((layer) => show(layer, choice));
  part.querySelectorAll(`.overlay input[value="${choice}"]`).forEach((i) => { i.checked = true; });
};
