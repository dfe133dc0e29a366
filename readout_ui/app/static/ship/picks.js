// The lists of the two runs to compare: what is picked stays so when the lists are drawn anew.

import { start as startActs } from "./acts.js";

export function start(given) {
  const picked = {};
  startActs(given);
  given.element.addEventListener("change", ({ target }) => {
    picked[target.dataset.pick] = target.value;
  });
  given.watch("value", () => {
    for (const list of given.element.querySelectorAll("[data-pick]"))
      select(list, picked[list.dataset.pick]);
  });
}

// An option that was picked once stays so by its place, whichever run stands there now.
function select(list, run) {
  const options = [...list.options];
  const wanted = options.find(({ value }) => value === run);
  (wanted ?? options.find(({ defaultSelected }) => defaultSelected)).selected = true;
}
