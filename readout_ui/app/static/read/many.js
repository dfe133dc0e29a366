// Many texts at once: pasted or from a file, read in pieces; means per row as a table and as CSV.

import { fileToSend } from "../lib/ask.js";
import { quoted } from "../lib/csv.js";
import { button, el, messageLine, openSheet, plural, say, tableHead } from "../lib/dom.js";
import { saveText } from "../lib/download.js";
import { number, paint } from "../lib/scale.js";
import { ranked } from "./reading.js";

const PIECE = 4;
const ROWS_SHOWN = 200;
const STRONGEST = 3;

// `room`: concepts, layer, mode, ask, open(text).
export function openMany(room) {
  const box = el("textarea", {
    id: "rd-many-box",
    class: "rd-many-box",
    autofocus: true,
    rows: 8,
    placeholder:
      "One text per line, or with blank lines between them; CSV with a title “text”; JSON lines",
  });
  const file = el("input", {
    type: "file",
    id: "rd-many-file",
    accept: ".csv,.tsv,.jsonl,.json,.txt",
  });
  const line = messageLine();
  const status = el("p", { class: "rd-sub", role: "status" });
  const found = el("div");
  const read = button({ label: "Read them", kind: "primary" });
  const stop = button({ label: "Stop", hidden: true });
  const body = el(
    "div",
    { class: "rd-many" },
    el("label", { for: "rd-many-box" }, "Texts"),
    box,
    el("label", { for: "rd-many-file" }, "or a file (.csv, .tsv, .jsonl, .json, .txt)"),
    file,
    el("div", { class: "rd-many-foot" }, read, stop, status),
    line,
    found,
  );
  const { sheet } = openSheet(room.root, "Many texts", body, { wide: true });
  let going = false;
  stop.addEventListener("click", () => {
    going = false;
  });
  sheet.addEventListener("close", () => {
    going = false;
  });
  read.addEventListener("click", async () => {
    say(line, "");
    found.replaceChildren();
    const table = await tableOf(room, box, file.files[0]);
    if (!table.ok) {
      say(line, table.message);
      return;
    }
    going = true;
    [read.hidden, stop.hidden] = [true, false];
    const rows = await readRows(room, table.rows, status, () => going);
    [read.hidden, stop.hidden] = [false, true];
    show(room, found, rows);
  });
}

async function tableOf(room, box, file) {
  if (!file) return room.ask("read_table", { file_name: "", content: box.value });
  const chosen = await fileToSend(file);
  return chosen.ok ? room.ask("read_table", chosen.sent) : chosen;
}

// Reads a few rows at a time, so that others come to their turn; gives back what was read.
async function readRows(room, rows, status, goesOn) {
  const done = [];
  const { layer, mode } = room.how;
  for (let at = 0; at < rows.length && goesOn(); at += PIECE) {
    const piece = rows.slice(at, at + PIECE);
    status.textContent = `${done.length} of ${plural(rows.length, "text")} read`;
    const answer = await room.ask("read_rows", {
      texts: piece.map((row) => row.text),
      mode,
      layer,
    });
    piece.forEach((row, index) => {
      done.push({ ...row, ...(answer.ok ? answer.means[index] : { error: answer.message }) });
    });
    if (!answer.ok) break;
  }
  status.textContent = `${done.length} of ${plural(rows.length, "text")} read`;
  return { rows: done, layer, mode };
}

function show(room, place, { rows, layer, mode }) {
  const { concepts } = room;
  const name = el(
    "select",
    { "aria-label": "Column" },
    el("option", { value: "" }, "strongest three"),
    concepts.map((each) => el("option", {}, each)),
  );
  const body = el("tbody");
  const fill = () => body.replaceChildren(...tableRows(room, rows, name.value));
  name.addEventListener("change", fill);
  const csv = button({
    label: "CSV",
    onclick: () => saveText(meansCsv(rows, concepts, layer), "means.csv", "text/csv"),
  });
  const note =
    rows.length > ROWS_SHOWN ? `The first ${ROWS_SHOWN} of ${rows.length}; the CSV has all. ` : "";
  place.replaceChildren(
    el(
      "div",
      { class: "rd-many-foot" },
      name,
      csv,
      el("span", { class: "rd-sub" }, `${note}mean z per text · layer ${layer} · read as ${mode}`),
    ),
    el(
      "div",
      { class: "rd-many-scroll", tabindex: 0, role: "region", "aria-label": "Means" },
      el("table", { class: "rd-table" }, tableHead(["Line", "Text", "Mean z"]), body),
    ),
  );
  fill();
}

function tableRows(room, rows, concept) {
  const at = room.concepts.indexOf(concept);
  const known =
    at < 0 ? rows : [...rows].sort((a, b) => (b.z?.[at] ?? -Infinity) - (a.z?.[at] ?? -Infinity));
  return known.slice(0, ROWS_SHOWN).map((row) => {
    const shown = !row.z ? [] : at < 0 ? ranked(row.z).slice(0, STRONGEST) : [at];
    const chips = shown.map((each) => {
      const chip = el(
        "span",
        { class: "rd-chip" },
        `${room.concepts[each]} ${number(row.z[each])}`,
      );
      chip.style.background = paint(row.z[each]);
      return chip;
    });
    const open = el(
      "button",
      {
        type: "button",
        class: "rd-row-text",
        title: "Read it here",
        onclick: () => room.open(row.text),
      },
      row.text.slice(0, 160),
    );
    return el(
      "tr",
      {},
      el("td", { class: "num" }, row.line),
      el("td", {}, open),
      el("td", {}, row.error ?? chips),
    );
  });
}

export function meansCsv(rows, concepts, layer) {
  const titles = ["line", "text", "tokens", "layer", "error", ...concepts];
  const lines = rows.map(({ line, text, tokens, error, z }) => [
    line,
    text,
    tokens ?? "",
    layer,
    error ?? "",
    ...(z ?? concepts.map(() => "")),
  ]);
  return [titles, ...lines]
    .map((cells) => cells.map((value) => quoted(String(value))).join(","))
    .join("\n");
}
