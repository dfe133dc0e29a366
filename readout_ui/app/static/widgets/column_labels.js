// A heatmap that scrolls opens where the text begins, not on the template before it.

export function start({ element, watch }) {
  let shown = "";

  const openAtText = () => {
    const labels = element.querySelector(".token-labels");
    const scroll = element.closest("#inspect-scroll");
    if (!labels || !scroll) return;
    const tokens = labels.textContent;
    if (tokens === shown) return;
    shown = tokens;
    const roles = [...labels.querySelectorAll("i")];
    const first = Math.max(
      0,
      roles.findIndex((role) => role.textContent !== "T"),
    );
    const left = first ? roles[first].offsetLeft : 0;
    const move = (tries) => {
      scroll.scrollLeft = left;
      // The figure below makes room only once it is drawn.
      const room = scroll.scrollWidth - scroll.clientWidth;
      if (scroll.scrollLeft < Math.min(left, room || left) - 1 && tries > 0) {
        requestAnimationFrame(() => move(tries - 1));
      }
    };
    move(120);
  };
  watch("value", () => requestAnimationFrame(openAtText));
  requestAnimationFrame(openAtText);
}
