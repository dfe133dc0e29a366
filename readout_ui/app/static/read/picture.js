// What is in sight of a map as a picture file: SVG, and PNG drawn from it.

import { saveBlob } from "../lib/download.js";
import { ends, share } from "../lib/scale.js";
import { HEAD, ROW, short } from "./map.js";
import { named } from "./reading.js";

const PAD = 12;
const SHARPNESS = 2;
const MOST_PIXELS = 16_000; // Chromium draws no canvas beyond 16384

// The rows and tokens in sight as SVG text; `about` stands below them.
export function mapSvg(map, about) {
  const { cell, left, labels, first, stop } = map;
  const { above, below } = ends(map.element);
  const [width, height] = [
    left + (stop - first) * cell + 2 * PAD + 40,
    HEAD + labels.length * ROW + 2 * PAD + 20,
  ];
  const safe = (words) => words.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`);
  const parts = labels.map(
    (label, row) => `<text x="${PAD}" y="${PAD + HEAD + row * ROW + 14}">${safe(label)}</text>`,
  );
  for (let column = first; column < stop; column += 1) {
    const x = PAD + left + (column - first) * cell;
    const words = safe(short(named(map.reading.tokens[map.columns[column]])));
    if (cell >= 12)
      parts.push(
        `<text transform="translate(${x + cell / 2} ${PAD + HEAD - 6}) rotate(-40)">${words}</text>`,
      );
    labels.forEach((_, row) => {
      const part = share(map.scoreAt(row, column), map.scaleAt(row));
      if (Math.abs(part) < 0.004) return;
      const colour = `rgb(${(part < 0 ? below : above).join()})`;
      parts.push(
        `<rect x="${x}" y="${PAD + HEAD + row * ROW}" width="${cell}" height="${ROW}" fill="${colour}" fill-opacity="${Math.abs(part).toFixed(3)}"/>`,
      );
    });
  }
  parts.push(`<text x="${PAD}" y="${height - PAD}">${safe(about)}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#17212f"><rect width="100%" height="100%" fill="#ffffff"/>${parts.join("")}</svg>`;
}

export function savePicture(map, about, format) {
  const svg = new Blob([mapSvg(map, about)], { type: "image/svg+xml" });
  if (format === "svg") {
    saveBlob(svg, "readout.svg");
    return;
  }
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    const scale = Math.min(SHARPNESS, MOST_PIXELS / Math.max(image.width, image.height));
    canvas.width = image.width * scale;
    canvas.height = image.height * scale;
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => saveBlob(blob, "readout.png"), "image/png");
    URL.revokeObjectURL(image.src);
  };
  image.src = URL.createObjectURL(svg);
}
