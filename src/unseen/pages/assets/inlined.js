"use strict";
// In a page that is one file, pictures are held once: in the first place that shows them, or here.
const inlined = JSON.parse(document.getElementById("inlined")?.textContent ?? "{}");
for (const first of document.querySelectorAll("[data-path]")) inlined[first.dataset.path] = first.getAttribute("src");
for (const again of document.querySelectorAll("[data-inlined]")) again.src = inlined[again.dataset.inlined];
const address = (path) => inlined[path] ?? path;
