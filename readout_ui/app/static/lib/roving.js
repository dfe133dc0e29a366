// Arrow keys within a list: one of its items is a stop of the Tab key, the others follow by arrows.

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

// `list`: the element around the items; `selector`: finds them; `moved`: told of the new one.
export function rove(list, selector, moved = () => {}) {
  list.addEventListener("keydown", (event) => {
    const item = event.target.closest(selector);
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = [...list.querySelectorAll(selector)].filter((one) => one.offsetParent !== null);
    const at = items.indexOf(item);
    const next =
      event.key === "Home"
        ? items[0]
        : event.key === "End"
          ? items.at(-1)
          : items[at + (STEPS[event.key] || Number.NaN)];
    if (!next) return;
    event.preventDefault();
    stopAt(list, selector, next);
    next.focus();
    moved(next);
  });
}

// Makes one item the list's stop.
export function stopAt(list, selector, item) {
  for (const other of list.querySelectorAll(`${selector}[tabindex="0"]`)) other.tabIndex = -1;
  if (item) item.tabIndex = 0;
}
