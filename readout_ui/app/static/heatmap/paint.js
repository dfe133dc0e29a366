// Pictures of a score map: one pixel per cell once, then stretched to whatever is in sight.

import { saveBlob } from "../lib/download.js";
import { cssColour } from "./data.js";

const VEILED = 0.3; // how strong the colours of columns are that do not count
export const BAND = 16;
const MONO = "ui-monospace, Menlo, Consolas, monospace";

function pixels(map, nRows, nColumns, shareOf) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, nColumns);
  canvas.height = Math.max(1, nRows);
  const image = new ImageData(canvas.width, canvas.height);
  for (let row = 0, at = 0; row < nRows; row += 1) {
    for (let column = 0; column < nColumns; column += 1, at += 4) {
      const share = shareOf(row, column);
      const [red, green, blue] = share >= 0 ? map.above : map.below;
      image.data[at] = red;
      image.data[at + 1] = green;
      image.data[at + 2] = blue;
      image.data[at + 3] = Math.abs(share) * 255; // NaN becomes 0
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

export const cellPixels = (map) =>
  pixels(
    map,
    map.rows.length,
    map.tokens.length,
    (row, column) => map.share(map.score(0, row, column)) * (map.scored[column] ? 1 : VEILED),
  );

export const overviewPixels = (map) =>
  pixels(
    map,
    map.overview[0],
    map.overview[1],
    (row, column) => (map.pooled[row * map.overview[1] + column] - 128) / 127,
  );

// A canvas at the screen's own resolution, cleared, measured in CSS pixels.
function freshPen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

export function paintOverview(canvas, picture, view, map, ink) {
  const [width, height] = [view.width + view.left, canvas.clientHeight];
  const pen = freshPen(canvas, width, height);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(picture, 0, 0, width, height);
  const [start, , total] = map.window;
  const from = ((start + view.start) / total) * width;
  const wide = Math.max(3, (view.width / view.cell / total) * width);
  pen.fillStyle = ink;
  pen.globalAlpha = 0.12;
  pen.fillRect(0, 0, from, height);
  pen.fillRect(from + wide, 0, width - from - wide, height);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink;
  pen.lineWidth = 2;
  pen.strokeRect(from + 1, 1, Math.min(wide, width - from) - 2, height - 2);
}

export function paintCells(canvas, picture, view) {
  const pen = freshPen(canvas, view.width, view.height);
  pen.imageSmoothingEnabled = view.cell < 1;
  const columns = Math.min(picture.width - view.start, view.width / view.cell);
  const rows = Math.min(picture.height - view.top / view.row, view.height / view.row);
  pen.drawImage(
    picture,
    view.start,
    view.top / view.row,
    columns,
    rows,
    0,
    0,
    columns * view.cell,
    rows * view.row,
  );
}

// Tokens upright where they fit, else where in the text each stretch lies; who speaks below.
export function paintHead(canvas, view, map, ink) {
  const pen = freshPen(canvas, view.width, view.head);
  const floor = view.head - BAND;
  const last = Math.min(map.tokens.length, Math.ceil(view.start + view.width / view.cell));
  const every = view.cell >= 12 ? 1 : niceStep(70 / view.cell);
  pen.font = `12px ${MONO}`;
  for (let column = Math.floor(view.start); column < last; column += 1) {
    const x = (column - view.start) * view.cell;
    pen.fillStyle = map.roleColours[map.roles[column]];
    pen.fillRect(x, floor, view.cell + 0.5, BAND - 2);
    pen.fillStyle = ink;
    if (every === 1) {
      pen.save();
      pen.translate(x + view.cell / 2 + 4, floor - 6);
      pen.rotate(-Math.PI / 2);
      pen.fillText(short(map.tokens[column]), 0, 0);
      pen.restore();
      if (view.cell >= 14) {
        pen.font = `10px ${MONO}`;
        pen.fillText(map.roleLetters[map.roles[column]], x + view.cell / 2 - 3, floor + 11);
        pen.font = `12px ${MONO}`;
      }
    } else if ((map.window[0] + column) % every === 0) {
      pen.fillRect(x, floor - 6, 1, 5);
      pen.fillText(String(map.window[0] + column), x + 3, floor - 8);
    }
  }
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
}

const short = (label) => (label.length <= 18 ? label : `${label.slice(0, 17)}…`);

// What is in sight, all rows of it, as SVG text; a PNG is drawn from the same.
function mapAsSvg(map, view) {
  const text = (words) => words.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const first = Math.floor(view.start);
  const last = Math.min(map.tokens.length, Math.ceil(view.start + view.width / view.cell));
  const [left, head, cell, row] = [view.left, view.head, view.cell, view.row];
  const [width, height] = [left + (last - first) * cell + 8, head + map.rows.length * row + 40];
  const parts = [];
  for (let column = first; column < last; column += 1) {
    const x = left + (column - first) * cell;
    parts.push(
      `<rect x="${x}" y="${head - BAND}" width="${cell}" height="${BAND - 2}" fill="${
        map.roleColours[map.roles[column]]
      }"/>`,
    );
    if (cell >= 12) {
      parts.push(
        `<text transform="translate(${x + cell / 2 + 4} ${head - BAND - 6}) rotate(-90)">${text(
          short(map.tokens[column]),
        )}</text>`,
      );
    }
    for (let line = 0; line < map.rows.length; line += 1) {
      const share = map.share(map.score(0, line, column)) * (map.scored[column] ? 1 : VEILED);
      if (Math.abs(share) > 0.004) {
        parts.push(
          `<rect x="${x}" y="${head + line * row}" width="${cell}" height="${row}" fill="${cssColour(
            map,
            share,
            1,
          )}"/>`,
        );
      }
    }
  }
  map.labels.forEach((label, line) => {
    parts.push(
      `<text x="${left - 8}" y="${head + line * row + row / 2 + 4}" text-anchor="end">${text(
        label,
      )}</text>`,
    );
  });
  parts.push(
    `<text x="${left}" y="${height - 14}">${text(placeWords(map, first, last))} · ${text(
      map.constant,
    )} · ${text(map.legend)}, ${(map.middle - map.reach).toPrecision(2)} to ${(
      map.middle + map.reach
    ).toPrecision(2)}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${MONO}" font-size="12" fill="#1f2328"><rect width="100%" height="100%" fill="#ffffff"/>${parts.join(
    "",
  )}</svg>`;
}

export const counted = (number) => number.toLocaleString("en");

export function placeWords(map, first, last) {
  const [start, , total] = map.window;
  return `tokens ${counted(start + first + 1)}–${counted(start + last)} of ${counted(total)}`;
}

export function saveMap(map, view, format) {
  const svg = new Blob([mapAsSvg(map, view)], { type: "image/svg+xml" });
  const save = (blob) => saveBlob(blob, `readout.${format}`);
  if (format === "svg") {
    save(svg);
    return;
  }
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    const scale = Math.min(2, 16000 / Math.max(image.width, image.height));
    canvas.width = image.width * scale;
    canvas.height = image.height * scale;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(save, "image/png");
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(svg);
}
