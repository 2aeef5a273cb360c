"use strict";
(() => {
  const pictures = JSON.parse(document.getElementById("pictures-data")?.textContent ?? "[]");

  // Pictures that hold a class: a list is filled when it is seen.
  const fill = (list) => {
    if (!list.dataset.held) return;
    const { label, name } = list.dataset;
    const part = list.closest("[data-overlay]");
    for (const [number, share, note] of JSON.parse(list.dataset.held)) {
      const picture = pictures[number];
      const item = copy("held-template");
      const write = (kind, text) => { item.querySelector(kind).textContent = unbroken(text ?? ""); };
      const first = item.querySelector(".first");
      if (picture.image) {
        Object.assign(first, { src: address(picture.image), width: picture.width, height: picture.height });
        first.alt = unbroken(`${picture.name}: ${name} covers ${share}`);
      }
      item.querySelector(".frame").classList.toggle("pixelated", Boolean(picture.small));
      write(".covers", share);
      write(".uncounted", note);
      write(".file", picture.name);
      write(".condition", picture.condition);
      cover(item, picture, label, part?.dataset.overlay ?? "none");
      if (!picture.image) item.querySelector(".frame").remove();
      list.append(item);
    }
    delete list.dataset.held;
  };
  for (const item of document.querySelectorAll(".found li[data-number]")) {
    if (item.querySelector(".frame")) cover(item, pictures[item.dataset.number], item.parentElement.dataset.label, "none");
  }

  // Open and close a class. Whoever fills a class when it is opened listens to "opened".
  const open = (one, wanted) => {
    const template = one.querySelector("template");
    if (wanted && template) {
      template.replaceWith(template.content);
      one.querySelectorAll("ul[data-held]").forEach(fill);
    }
    one.querySelector(".opener").setAttribute("aria-expanded", String(wanted));
    one.querySelector(".detail").hidden = !wanted;
    if (wanted) one.dispatchEvent(new CustomEvent("opened"));
  };

  // A table of classes with its filters.
  const catalogue = (section) => {
    const table = section.querySelector("table.classes");
    const classes = [...table.querySelectorAll("tbody.class")];
    const search = section.querySelector('input[type="search"]');
    const filters = [...section.querySelectorAll(".filter")];
    const count = section.querySelector("output.count");
    const nothing = section.querySelector(".nothing");
    const clear = section.querySelector(".clear");

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
      const all = classes.length === 1 ? "1 class" : `${classes.length} classes`;
      count.textContent = shown === classes.length ? all : `${shown} of ${all}`;
      nothing.hidden = shown > 0;
    };
    const showAll = () => {
      search.value = "";
      filters.forEach((b) => b.setAttribute("aria-pressed", "false"));
      filter();
    };
    search.addEventListener("input", filter);
    for (const button of filters) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        filter();
      });
    }
    clear.addEventListener("click", () => {
      showAll();
      search.focus();
    });
    section.addEventListener("showall", showAll);

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
    for (const button of table.querySelectorAll(":scope > thead button")) button.addEventListener("click", () => sort(button));

    for (const one of classes) {
      const opener = one.querySelector(".opener");
      opener.addEventListener("click", () => open(one, opener.getAttribute("aria-expanded") !== "true"));
    }
  };
  for (const section of document.querySelectorAll(".catalogue")) catalogue(section);

  // Links to a class open it, also from elsewhere: report.html#evidence-12.
  const reveal = (id) => {
    const one = document.getElementById(id);
    if (!one || !one.classList.contains("class")) return;
    if (one.hidden) one.closest(".catalogue").dispatchEvent(new CustomEvent("showall"));
    open(one, true);
    one.scrollIntoView({ block: "start" });
    one.querySelector(".opener").focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-open]");
    if (!link) return;
    event.preventDefault();
    history.replaceState(null, "", `#${link.dataset.open}`);
    reveal(link.dataset.open);
  });
  if (location.hash) reveal(location.hash.slice(1));
  addEventListener("hashchange", () => reveal(location.hash.slice(1)));

  // Overlays: one choice for all classes of a table, so that it stays while going through them.
  for (const section of document.querySelectorAll(".catalogue, .found, .asked article")) {
    section.addEventListener("change", (event) => {
      if (!event.target.matches(".overlay input")) return;
      section.dataset.overlay = event.target.value;
      lay(section, event.target.value);
    });
  }

  // Paper has no buttons: all leaves are shown there, and the classes that were found stand open there, or those that the reader chose.
  const FOUND = [".omitted", ".under", ".regressed", ".cannot-draw"];
  let opened = [];
  const unfold = () => {
    const classes = [...document.querySelectorAll("tbody.class:not([hidden])")];
    const isOpen = (one) => one.querySelector(".opener").getAttribute("aria-expanded") === "true";
    if (!classes.some(isOpen)) {
      opened = classes.filter((one) => one.querySelector(`.row .chip:is(${FOUND})`));
      opened.forEach((one) => open(one, true));
    }
    document.querySelectorAll(".leaf").forEach(fill);
    document.querySelectorAll("img[loading=lazy]").forEach((image) => { image.loading = "eager"; });
  };
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", () => opened.splice(0).forEach((one) => open(one, false)));
  if (location.search === "?print") unfold();

  // Images of a class that was asked about: a leaf of them at a time.
  for (const book of document.querySelectorAll(".asked .book")) {
    const leaves = [...book.querySelectorAll(".leaf")];
    const output = book.querySelector("output");
    let shown = 0;
    const turn = (by) => {
      shown = (shown + by + leaves.length) % leaves.length;
      leaves.forEach((leaf, i) => { leaf.hidden = i !== shown; });
      fill(leaves[shown]);
      const first = shown * leaves[0].children.length + 1;
      if (output) output.textContent = `${first} – ${first + leaves[shown].children.length - 1} of ${book.dataset.images}`;
    };
    if (leaves.length) turn(0);
    for (const button of book.querySelectorAll("[data-turn]")) {
      button.addEventListener("click", () => turn(Number(button.dataset.turn)));
    }
  }
})();
