// A click on what carries one of these data attributes becomes the component's `select`.

const VALUES = { concept: String, picker: String, run: String, token: Number };
const CLICKABLE = Object.keys(VALUES)
  .map((name) => `[data-${name}]`)
  .join(", ");

export function start({ element, trigger }) {
  element.addEventListener("click", (event) => {
    const clicked = event.target.closest(CLICKABLE);
    if (!clicked) return;
    const name = Object.keys(VALUES).find((key) => key in clicked.dataset);
    trigger("select", { [name]: VALUES[name](clicked.dataset[name]) });
  });
}
