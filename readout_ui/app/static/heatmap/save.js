// What is in sight of a map as a picture file.

import { saveBlob } from "../lib/download.js";
import { cssColour } from "./data.js";
import { BAND, MONO, placeWords, short, VEILED } from "./paint.js";

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
