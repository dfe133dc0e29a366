// The tokens in sight as coloured text, turn by turn.

import { cssColour, scoreLines } from "./data.js";
import { counted } from "./paint.js";
import { make } from "./parts.js";

const MOST_TOKENS = 400;

function tokenSpan(map, row, column, turn) {
  const token = map.tokens[column];
  if (token.startsWith("·")) turn.append(document.createElement("wbr"));
  const span = make("span", "token", turn);
  span.textContent = token;
  span.title = [token, ...scoreLines(map, row, column)].join("\n");
  if (map.scored[column]) {
    span.style.background = cssColour(map, map.share(map.score(0, row, column)), map.strength);
  }
  for (const sign of token) if (sign === "⏎") turn.append(document.createElement("br"));
}

// `first` to `last`: columns in sight; the row below the map's own holds the scores of the text.
export function fillStrip(place, map, first, last) {
  const stop = Math.min(last, first + MOST_TOKENS);
  const strip = document.createDocumentFragment();
  let turn = null;
  for (let column = first; column < stop; column += 1) {
    if (column === first || map.roles[column] !== map.roles[column - 1]) {
      turn = make("span", `turn turn-${map.roleKeys[map.roles[column]]}`, strip);
      make("b", "role", turn).textContent = map.roleNames[map.roles[column]];
    }
    tokenSpan(map, map.rows.length, column, turn);
  }
  if (stop < last) {
    make("span", "more", strip).textContent = ` … ${counted(last - stop)} more tokens in sight`;
  }
  place.replaceChildren(strip);
}
