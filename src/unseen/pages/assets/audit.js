"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const { class: asked, sample, pictures } = JSON.parse(find("audit-data").textContent);
  const STORE = `unseen-audit-${sample}`;
  const WORDS = { y: "yes", n: "no", "?": "can’t say" };
  const KEYS = { y: "y", j: "y", n: "n", "?": "?", "/": "?", u: "?" };  // "?" without shift, too
  const state = { answers: {}, at: 0, labeller: "" };
  try {
    Object.assign(state, JSON.parse(localStorage.getItem(STORE) ?? "{}"));
  } catch {
    find("lost").hidden = false;
  }

  const keep = () => {
    try {
      localStorage.setItem(STORE, JSON.stringify(state));
    } catch {
      find("lost").hidden = false;
    }
  };

  // The next pictures are decoded while the reader looks at this one.
  const ahead = (at) => {
    for (const next of pictures.slice(at, at + 3)) {
      const image = new Image();
      image.src = next.address;
      image.decode().catch(() => {});
    }
  };

  const show = () => {
    const done = state.at >= pictures.length;
    const answered = Object.keys(state.answers).length;
    find("progress").value = answered;
    find("done").hidden = !done;
    document.querySelector(".stage").hidden = done;
    document.querySelector("main > h1").hidden = done;
    find("where").textContent = done ? `${answered} of ${pictures.length} answered` : `Picture ${state.at + 1} of ${pictures.length}`;
    for (const button of document.querySelectorAll("[data-answer]")) {
      button.disabled = done;
      button.setAttribute("aria-pressed", String(!done && state.answers[state.at] === button.dataset.answer));
    }
    document.querySelector("[data-do=back]").disabled = state.at === 0;
    if (done) {
      const counted = (answer) => Object.values(state.answers).filter((one) => one === answer).length;
      find("summary").textContent = `${counted("y")} yes, ${counted("n")} no, ${counted("?")} can’t say; ${pictures.length - answered} without an answer.`;
      find("labeller").value = state.labeller;
      return;
    }
    const image = find("picture");
    image.src = pictures[state.at].address;
    image.alt = `Picture ${state.at + 1}`;
    image.onload = () => image.classList.toggle("pixelated", Math.max(image.naturalWidth, image.naturalHeight) <= 128);
    find("answer").textContent = WORDS[state.answers[state.at]] ?? "";
    ahead(state.at + 1);
  };

  const go = (to) => {
    state.at = Math.min(Math.max(to, 0), pictures.length);
    keep();
    show();
  };
  const answer = (said) => {
    if (state.at >= pictures.length) return;
    state.answers[state.at] = said;
    go(state.at + 1);
  };

  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const save = () => {
    const lines = [["class", "side", "name", "label", "labeller"]];
    pictures.forEach(({ key }, i) => {
      if (!(i in state.answers)) return;
      const bytes = Uint8Array.from(atob(key), (one) => one.charCodeAt(0));
      const [side, name] = JSON.parse(new TextDecoder().decode(bytes));
      lines.push([asked, side, name, state.answers[i], state.labeller]);
    });
    const text = `${lines.map((line) => line.map(cell).join(",")).join("\n")}\n`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    const words = ["audit", asked, state.labeller].join(" ").trim();
    link.download = `${words.replaceAll(/[^\p{L}\p{N}]+/gu, "-")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  const back = () => go(state.at - 1);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const said = KEYS[event.key.toLowerCase()];
    const action = { backspace: back, arrowleft: back, b: back, e: save }[event.key.toLowerCase()];
    if (event.key === "ArrowRight" && state.at in state.answers) go(state.at + 1);
    else if (said) answer(said);
    else if (action) action();
    else return;
    event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  document.querySelector("[data-do=back]").addEventListener("click", back);
  document.querySelector("[data-do=save]").addEventListener("click", save);
  find("export").addEventListener("click", save);
  find("labeller").addEventListener("input", (event) => {
    state.labeller = event.target.value;
    keep();
  });
  show();
})();
