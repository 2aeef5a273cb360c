"use strict";
// In a page that is one file, pictures are held once: in the first place that shows them, or here.
const inlined = JSON.parse(document.getElementById("inlined")?.textContent ?? "{}");
const parts = [document, ...[...document.querySelectorAll("template")].map((template) => template.content)];
for (const part of parts) {
  for (const first of part.querySelectorAll("[data-path]")) inlined[first.dataset.path] = first.getAttribute("src");
}
for (const part of parts) {
  for (const again of part.querySelectorAll("[data-inlined]")) again.src = inlined[again.dataset.inlined];
}
const address = (path) => inlined[path] ?? path;
