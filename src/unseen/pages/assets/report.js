"use strict";
(() => {
  const table = document.getElementById("table");
  const classes = [...table.querySelectorAll("tbody.class")];
  const search = document.getElementById("search");
  const filters = [...document.querySelectorAll(".filter")];
  const count = document.getElementById("count");
  const nothing = document.getElementById("nothing");

  // Filter: by text, and by verdict of any generated side; no verdict pressed means all.
  const filter = () => {
    const text = search.value.trim().toLowerCase();
    const wanted = filters.filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.dataset.verdict);
    let shown = 0;
    for (const one of classes) {
      const verdicts = one.dataset.verdicts.split(" ");
      one.hidden = !one.dataset.name.includes(text) || (wanted.length > 0 && !wanted.some((v) => verdicts.includes(v)));
      shown += one.hidden ? 0 : 1;
    }
    count.textContent = shown === classes.length ? `${shown} classes` : `${shown} of ${classes.length} classes`;
    nothing.hidden = shown > 0;
  };
  search.addEventListener("input", filter);
  for (const button of filters) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  document.getElementById("clear").addEventListener("click", () => {
    search.value = "";
    filters.forEach((b) => b.setAttribute("aria-pressed", "false"));
    filter();
    search.focus();
  });

  // Sort: numbers from large to small first, names and verdicts in their order; undefined last.
  const sort = (button) => {
    const heading = button.closest("th");
    const numeric = button.dataset.kind === "number";
    const before = heading.getAttribute("aria-sort");
    const ascending = before === "none" ? !numeric : before === "descending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const key = button.dataset.sort;
    const value = (one) => one.getAttribute(`data-${key}`);
    const compare = button.dataset.kind === "text"
      ? (a, b) => value(a).localeCompare(value(b))
      : (a, b) => Number(value(a)) - Number(value(b));
    const sorted = classes.slice().sort((a, b) => {
      const missing = (value(a) === "") - (value(b) === "");
      return missing || (ascending ? compare(a, b) : compare(b, a));
    });
    table.append(...sorted);
  };
  for (const button of table.querySelectorAll("thead button")) button.addEventListener("click", () => sort(button));

  // Open and close a class.
  const open = (one, wanted) => {
    one.querySelector(".opener").setAttribute("aria-expanded", String(wanted));
    one.querySelector(".detail").hidden = !wanted;
  };
  for (const one of classes) {
    const opener = one.querySelector(".opener");
    opener.addEventListener("click", () => open(one, opener.getAttribute("aria-expanded") !== "true"));
  }
  const reveal = (id) => {
    const one = document.getElementById(id);
    if (!one || !one.classList.contains("class")) return;
    if (one.hidden) document.getElementById("clear").click();
    open(one, true);
    one.scrollIntoView({ block: "start" });
    one.querySelector(".opener").focus({ preventScroll: true });
  };
  for (const link of document.querySelectorAll("[data-open]")) link.addEventListener("click", () => reveal(link.dataset.open));
  if (location.hash) reveal(location.hash.slice(1));

  // Overlays: one choice for all classes, so that it stays while going through them.
  const overlay = (choice) => {
    document.querySelectorAll(".class-over").forEach((i) => { i.hidden = choice !== "class"; });
    document.querySelectorAll(".labels-over, .legend").forEach((i) => { i.hidden = choice !== "labels"; });
    document.querySelectorAll(`.overlay input[value="${choice}"]`).forEach((i) => { i.checked = true; });
  };
  table.addEventListener("change", (event) => {
    if (event.target.matches(".overlay input")) overlay(event.target.value);
  });
})();
