"use strict";
(() => {
  const CASES = 4; // shown when a class is opened, and with every "more"
  const PHOTOGRAPHS = 8;
  const data = JSON.parse(document.getElementById("evidence-data").textContent);
  const several = data.methods.length > 1;

  // A picture in a frame of its own shape.
  const fill = (frame, picture, image, alt) => {
    frame.style.aspectRatio = `${picture.width} / ${picture.height}`;
    frame.classList.toggle("pixelated", picture.small);
    const first = frame.querySelector(".first");
    if (image) {
      first.src = address(image);
      first.alt = alt;
    } else {
      first.removeAttribute("src");
      first.alt = "";
    }
    first.hidden = !image;
  };
  const place = (box, [top, left, height, width]) => {
    Object.assign(box.style, { top: `${top}%`, left: `${left}%`, height: `${height}%`, width: `${width}%` });
  };
  const fail = (frame, reason) => {
    const note = frame.querySelector(".failed");
    note.hidden = !reason;
    note.textContent = reason ? `No reconstruction: ${reason}` : "";
  };

  // The slider: the reconstruction comes in from the left.
  const connect = (frame, slider, said) => {
    const slide = () => {
      frame.style.setProperty("--at", `${slider.value}%`);
      const at = Number(slider.value);
      slider.setAttribute("aria-valuetext", at === 0 ? said : at === 100 ? "reconstruction" : `${at} % reconstruction`);
    };
    slider.addEventListener("input", slide);
    slide();
  };
  const slideOver = (frame, slider, rebuilt) => {
    const after = frame.querySelector(".after");
    slider.disabled = !rebuilt.image;
    after.hidden = !rebuilt.image;
    if (rebuilt.image) after.src = address(rebuilt.image);
  };

  // What the segmenter saw: one class, or all labels with a legend.
  const catalogue = document.querySelector(".gallery")?.closest(".catalogue");
  const overlay = (frame, shown, kind) => cover(frame.closest("figure"), shown, kind, catalogue.dataset.overlay ?? "class");

  // One image with its reconstruction, label maps and numbers.
  const showInstance = (sheet, key, method) => {
    const instance = data.instances[key];
    const picture = data.pictures[instance.picture];
    const rebuilt = picture.rebuilt[method] || { failed: "there is none" };
    const kind = data.classes[instance.class];
    const fate = instance.fates[method];
    const noun = picture.control ? "generated image" : "photograph";
    const frame = (name) => sheet.querySelector(`.frame.${name}`);
    const slider = sheet.querySelector(".wipe input");

    fill(frame("before"), picture, picture.image, `${picture.name}: the ${noun}`);
    sheet.querySelector(".wipe .from").textContent = picture.control ? "generated" : "photograph";
    slider.setAttribute("aria-label", `From the ${noun} to its reconstruction`);
    slideOver(frame("before"), slider, rebuilt);
    fill(frame("rebuilt"), picture, rebuilt.image, `${picture.name}: the reconstruction by ${data.methods[method].label}`);
    fail(frame("rebuilt"), rebuilt.failed);
    sheet.querySelector(".method").textContent = several ? `rebuilt by ${data.methods[method].label}` : "rebuilt";
    fill(frame("labels-before"), picture, picture.image, `${kind.name} in the ${noun}`);
    overlay(frame("labels-before"), picture, instance.class);
    fill(frame("labels-rebuilt"), picture, rebuilt.image, `${kind.name} in the reconstruction`);
    overlay(frame("labels-rebuilt"), rebuilt, instance.class);
    fail(frame("labels-rebuilt"), rebuilt.failed);
    const [before, after] = sheet.querySelectorAll("figcaption .what");
    before.textContent = picture.true ? "the true labels" : "what the segmenter saw";
    after.textContent = picture.true ? "what the segmenter saw in the reconstruction" : "what it saw in the reconstruction";
    for (const box of sheet.querySelectorAll(".box")) place(box, instance.box);

    const facts = sheet.querySelector(".facts");
    facts.replaceChildren();
    const add = (term, text, strong) => {
      if (!text) return;
      facts.append(make("dt", "", term), make("dd", strong ? "strong" : "", unbroken(text)));
    };
    add("Retained", fate ? fate.retention : "", true);
    add("Overlap (IoU)", fate ? fate.iou : "");
    add("Became", fate ? fate.became : "");
    add("Error of the image", rebuilt.error);
    add("Loss", rebuilt.loss);
    add("Area", instance.area);
    add("Perimeter, contrast", `${instance.shape}, ${instance.contrast}`);
    add("Typicality", picture.typicality);
  };

  const newSheet = () => {
    const sheet = copy("sheet-template");
    connect(sheet.querySelector(".frame.before"), sheet.querySelector(".wipe input"), "original");
    return sheet;
  };

  // A case: an instance of a photograph, and its matched controls one at a time.
  const newCase = ([key, controls]) => {
    const one = copy("case-template");
    const instance = data.instances[key];
    const picture = data.pictures[instance.picture];
    const sheets = one.querySelector(".sheets");
    const mine = newSheet();
    mine.querySelector("h6").textContent = "Photograph";
    mine.querySelector(".switch").remove();
    sheets.append(mine);
    one.querySelector(".file").textContent = picture.name;

    let method = data.primary;
    let shown = 0;
    const other = controls.length ? newSheet() : null;
    const showControl = () => {
      const control = data.instances[controls[shown]];
      other.querySelector("h6").textContent = `Matched control: ${data.classes[control.class].name}`;
      other.querySelector(".switch output").textContent = `${shown + 1} of ${controls.length}`;
      showInstance(other, controls[shown], method);
    };
    if (other) {
      sheets.append(other);
      const step = (by) => {
        shown = (shown + by + controls.length) % controls.length;
        showControl();
      };
      other.querySelector(".previous").addEventListener("click", () => step(-1));
      other.querySelector(".next").addEventListener("click", () => step(1));
      other.querySelector(".switch").hidden = controls.length < 2;
    } else if (data.controlled) {
      sheets.append(make("p", "quiet", "No region of the generator's own images matches it in area, shape and contrast."));
    }
    sheets.classList.toggle("alone", !other);

    const show = () => {
      const fate = instance.fates[method];
      one.querySelector(".retained").textContent = fate ? fate.retention : "–";
      one.querySelector(".vanished").hidden = !(fate && fate.vanished);
      showInstance(mine, key, method);
      if (other) showControl();
      for (const button of one.querySelectorAll(".choose button")) {
        button.setAttribute("aria-pressed", String(Number(button.dataset.method) === method));
      }
    };
    for (const i of several ? data.order : []) {
      const rebuilt = picture.rebuilt[i] || {};
      const fate = instance.fates[i];
      const button = make("button");
      button.type = "button";
      button.dataset.method = i;
      const frame = make("span", "frame");
      const image = make("img", "first");
      image.loading = "lazy";
      const box = make("span", "box");
      place(box, instance.box);
      frame.append(image, box);
      fill(frame, picture, rebuilt.image, "");
      button.append(frame, make("b", "", fate ? `${fate.retention} ` : "failed "), make("span", "", data.methods[i].label), make("span", "quiet", data.methods[i].bound));
      button.addEventListener("click", () => {
        method = i;
        show();
      });
      one.querySelector(".choose").append(button);
    }
    show();
    return one;
  };

  // A list that is built a few entries at a time; the first new one takes the focus.
  const page = (list, entries, build, step, button, status) => {
    let built = 0;
    const more = () => {
      const first = built;
      for (const entry of entries.slice(built, built + step)) list.append(build(entry));
      built = Math.min(built + step, entries.length);
      button.hidden = built === entries.length;
      button.textContent = `Show ${Math.min(step, entries.length - built)} more`;
      status.textContent = entries.length > step ? `${built} of ${entries.length} shown` : "";
      return list.children[first];
    };
    button.addEventListener("click", () => {
      const target = more().querySelector("h5, input");
      if (target) target.focus();
    });
    more();
  };

  for (const gallery of document.querySelectorAll(".gallery")) {
    gallery.closest("tbody").addEventListener("opened", () => {
      page(
        gallery.querySelector(".cases"), data.galleries[gallery.dataset.gallery], newCase, CASES,
        gallery.querySelector(".more-cases"), gallery.querySelector(".more output"),
      );
    }, { once: true });
  }

  const newPhotograph = (entry) => {
    const one = copy("photograph-template");
    const picture = data.pictures[entry.picture];
    const rebuilt = picture.rebuilt[data.primary] || { failed: "there is none" };
    const frame = one.querySelector(".frame");
    const slider = one.querySelector("input");
    fill(frame, picture, picture.image, `${picture.name}: the photograph`);
    slideOver(frame, slider, rebuilt);
    fail(frame, rebuilt.failed);
    connect(frame, slider, "photograph");
    slider.setAttribute("aria-label", `${picture.name}: from the photograph to its reconstruction`);
    one.querySelector(".lost").textContent = rebuilt.failed ? "failed" : `lost ${entry.lost}`;
    one.querySelector(".file").textContent = picture.name;
    one.querySelector(".note").textContent = [
      entry.vanished && `${entry.vanished} vanished (${entry.vanished_area})`,
      rebuilt.error && `error ${rebuilt.error}`,
      picture.typicality,
    ].filter(Boolean).join("; ");
    const classes = one.querySelector(".vanished-classes");
    for (const [key, name] of entry.classes) {
      const link = make("button", "link", name);
      link.type = "button";
      link.dataset.open = key;
      classes.append(link, " ");
    }
    return one;
  };
  const photographs = document.querySelector("ul.photo-list");
  page(
    photographs, data.photographs, newPhotograph, PHOTOGRAPHS,
    document.querySelector(".more-photographs"), photographs.nextElementSibling.querySelector("output"),
  );
})();
