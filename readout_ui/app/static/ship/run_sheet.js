// What a run is called, and what else can be done with it.

import { el, openSheet, page } from "../lib/dom.js";

export function openRunSheet(opener, send) {
  const row = opener.closest("tr");
  const { run, title, name, note, tags } = row.dataset;
  const broken = row.classList.contains("broken");
  const done = (values) => {
    sheet.close();
    send({ run, ...values });
  };
  const body = el(
    "div",
    { class: "run-sheet" },
    broken ? null : nameForm({ name, note, tags }, done),
    el(
      "div",
      { class: "run-sheet-end" },
      broken ? null : action("Save as a pack", () => done({ act: "pack" })),
      deleteButton(() => done({ act: "delete" })),
    ),
  );
  const sheet = openSheet(page(), title, body);
  sheet.sheet.classList.add("ship-sheet");
  body.querySelector("input, button").focus();
}

function nameForm({ name, note, tags }, done) {
  const field = (label, control) => el("label", { class: "field" }, label, control);
  const text = (value, more = {}) =>
    el("input", { type: "text", value, autocomplete: "off", spellcheck: "false", ...more });
  const named = text(name, { maxlength: 80 });
  const tagged = text(tags, { placeholder: "diary, draft" });
  const noted = el("textarea", { rows: 3, maxlength: 2000 }, note);
  const form = el(
    "form",
    {},
    field("Name", named),
    field("Note", noted),
    field("Tags, with commas between", tagged),
    el("button", { type: "submit", class: "btn go" }, "Save"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    done({ act: "describe", name: named.value, note: noted.value, tags: tagged.value });
  });
  return form;
}

function action(label, onclick) {
  return el("button", { type: "button", class: "btn", onclick }, label);
}

// Deleting is for good, so it is asked for twice.
function deleteButton(remove) {
  const button = action("Delete", () => {
    if (button.classList.contains("danger")) remove();
    button.classList.add("danger");
    button.textContent = "Delete it for good";
  });
  return button;
}
