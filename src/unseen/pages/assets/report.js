"use strict";
(() => {
  // Open and close a class. Whoever fills a class when it is opened listens to "opened".
  const open = (one, wanted) => {
    const template = one.querySelector("template");
    if (wanted && template) {
      template.replaceWith(template.content);
      const chosen = one.closest(".catalogue").dataset.overlay;
      if (chosen) lay(one, chosen);
    }
    one.querySelector(".opener").setAttribute("aria-expanded", String(wanted));
    one.querySelector(".detail").hidden = !wanted;
    if (wanted) one.dispatchEvent(new CustomEvent("opened"));
  };

  // Lay the class, or all labels, over the pictures.
  const lay = (part, choice) => {
    part.querySelectorAll(".class-over").forEach((i) => { i.hidden = choice !== "class"; });
    part.querySelectorAll(".labels-over, .legend").forEach((i) => { i.hidden = choice !== "labels"; });
    part.querySelectorAll(`.overlay input[value="${choice}"]`).forEach((i) => { i.checked = true; });
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
  for (const section of document.querySelectorAll(".catalogue, .found")) {
    section.addEventListener("change", (event) => {
      if (!event.target.matches(".overlay input")) return;
      section.dataset.overlay = event.target.value;
      lay(section, event.target.value);
    });
  }

  // Paper has no buttons: the classes that were found stand open there, or those that the reader chose.
  const FOUND = [".omitted", ".under", ".regressed", ".cannot-draw"];
  let opened = [];
  const unfold = () => {
    const classes = [...document.querySelectorAll("tbody.class:not([hidden])")];
    const isOpen = (one) => one.querySelector(".opener").getAttribute("aria-expanded") === "true";
    if (!classes.some(isOpen)) {
      opened = classes.filter((one) => one.querySelector(`.row .chip:is(${FOUND})`));
      opened.forEach((one) => open(one, true));
    }
    document.querySelectorAll("img[loading=lazy]").forEach((image) => { image.loading = "eager"; });
  };
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", () => opened.splice(0).forEach((one) => open(one, false)));
  if (location.search === "?print") unfold();

  // Images of a class that was asked about: a leaf of them at a time, and the class over them.
  for (const section of document.querySelectorAll(".asked")) {
    for (const book of section.querySelectorAll(".book")) {
      const leaves = [...book.querySelectorAll(".leaf")];
      const output = book.querySelector("output");
      const count = book.querySelectorAll(".leaf > li").length;
      let shown = 0;
      const turn = (by) => {
        shown = (shown + by + leaves.length) % leaves.length;
        leaves.forEach((leaf, i) => { leaf.hidden = i !== shown; });
        const first = shown * Number(book.dataset.aLeaf) + 1;
        output.textContent = `${first} – ${first + leaves[shown].children.length - 1} of ${count}`;
      };
      if (output) turn(0);
      for (const button of book.querySelectorAll("[data-turn]")) {
        button.addEventListener("click", () => turn(Number(button.dataset.turn)));
      }
    }
    section.addEventListener("change", (event) => {
      if (!event.target.matches(".overlay input")) return;
      lay(event.target.closest("article"), event.target.value);
    });
  }
})();
