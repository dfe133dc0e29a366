// The one colour scale of scores: text, bars and map all ask here, so equal scores look equal.

export const REACH = 4; // |z| of the full colour, in every text, at every layer
export const Z_SCALE = { middle: 0, reach: REACH };

// From -1 (full blue) over 0 (no colour) to 1 (full orange); no score has no colour.
export function share(score, scale = Z_SCALE) {
  if (!Number.isFinite(score)) return 0;
  return Math.max(-1, Math.min(1, (score - scale.middle) / scale.reach));
}

// The colour of a score for CSS; it follows light and dark by itself.
export function paint(score, scale = Z_SCALE) {
  const part = share(score, scale);
  const hue = part < 0 ? "--neg" : "--pos";
  return `color-mix(in srgb, var(${hue}) ${(Math.abs(part) * 100).toFixed(1)}%, var(--mid))`;
}

// The scale's ends as [red, green, blue] for canvases, as they are at this place of the page.
export function ends(element) {
  const style = getComputedStyle(element);
  return {
    above: rgb(style.getPropertyValue("--pos")),
    below: rgb(style.getPropertyValue("--neg")),
  };
}

export function rgb(colour) {
  const hex = colour.trim().replace("#", "");
  const long = hex.length === 3 ? [...hex].map((digit) => digit + digit).join("") : hex;
  return [0, 2, 4].map((at) => Number.parseInt(long.slice(at, at + 2), 16));
}

// With a sign that is as wide as a digit; what rounds to nothing has none.
function rounded(value, digits) {
  const text = value.toFixed(digits);
  return text.replace("-", Number(text) ? "−" : "");
}

// "−1.25".
export function number(score, digits = 2) {
  return Number.isFinite(score) ? rounded(score, digits) : "–";
}

// ".918", "1.00", "−.25"; empty without a number.
export function decimals(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  return rounded(value, digits).replace(/^(−?)0\./, "$1.");
}
