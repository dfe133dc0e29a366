// An answer under way as a map: what heatmap/data.js gives of a packed one, but it grows.

import { short } from "../heatmap/paint.js";
import { buildParts } from "../heatmap/parts.js";
import { MapView } from "../heatmap/view.js";
import { el } from "../lib/dom.js";
import { isScored } from "./scores.js";

export class GrowingMap {
  // `look`: colours and names of roles from the server; `kind`: unit of the scores.
  constructor(stream, look, layer, kind) {
    const { keys, names, letters, colours } = look.roles;
    Object.assign(this, { roleKeys: keys, roleNames: names });
    Object.assign(this, { roleLetters: letters, roleColours: colours });
    Object.assign(this, { above: look.above, below: look.below, strength: look.strength });
    this.stream = stream;
    this.rows = stream.source.concepts;
    this.labels = this.rows.map(short);
    this.units = [{ name: kind, digits: 2 }];
    this.constant = `layer ${layer}`;
    this.legend = look.units[kind];
    this.middle = 0;
    this.reach = stream.reach;
    this.strip = "";
    this.colours = true;
    this.clickable = true;
    this.pickable = true;
    this.first = 0; // tokens are counted as everywhere on this page
    this.answer = stream.source.n_prompt;
    this.selected = null;
    Object.assign(this, { tokens: [], roles: [], scored: [] });
    this.take();
    this.opens = this.tokens.length; // at its end, where the next ones come
  }

  get window() {
    return [0, this.tokens.length, this.tokens.length];
  }

  // The tokens that came since.
  take() {
    const { stream } = this;
    for (let index = this.tokens.length; index < stream.rows.length; index += 1) {
      this.tokens.push(stream.tokens[index]);
      this.roles.push(this.roleKeys.indexOf(stream.roles[index]));
      this.scored.push(isScored(stream, index));
    }
  }

  score(_unit, row, column) {
    return this.stream.rows[column][row];
  }

  share(score) {
    return Math.max(-1, Math.min(1, score / this.reach));
  }
}

// The map of the Live page; `act`: pick a concept, select a token.
export class LiveMap {
  constructor(look, act) {
    this.look = look;
    this.box = el("div", { class: "score-map" });
    this.view = new MapView(buildParts(this.box, "live"), (_event, { concept, token }) => {
      if (token === undefined) act.pick(concept);
      else act.select(token, concept);
    });
  }

  clear() {
    this.box.classList.remove("on");
    this.view.map = null;
  }

  // `afresh`: colours changed, so every column is painted again.
  draw(stream, { afresh, layer, kind, chosen, selected }) {
    const { view } = this;
    if (view.map && view.map.stream === stream) view.grow();
    this.box.classList.add("on");
    if (afresh || !view.map || view.map.stream !== stream) {
      view.show(new GrowingMap(stream, this.look, layer, kind));
    }
    view.mark(chosen, selected);
  }
}
