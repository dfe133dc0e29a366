// Ctrl+Enter reads, and a reload keeps what was typed (in this browser tab only).
const TEXT = "readout-inspect-text";
const MODE = "readout-inspect-mode";

const readOnShortcut = (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  if (!event.target.closest("#inspect-prompt")) return;
  event.preventDefault();
  document.querySelector("#inspect-read")?.click();
};

const remember = (event) => {
  if (event.target.closest("#inspect-prompt")) sessionStorage.setItem(TEXT, event.target.value);
  if (event.target.closest("#inspect-mode")) sessionStorage.setItem(MODE, event.target.value);
};

const restore = (attempts) => {
  const box = document.querySelector("#inspect-prompt textarea");
  const modes = [...document.querySelectorAll("#inspect-mode input")];
  if (!box || modes.length === 0) {
    if (attempts > 0) setTimeout(() => restore(attempts - 1), 100);
    return;
  }
  const text = sessionStorage.getItem(TEXT);
  if (text && !box.value) {
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  }
  const mode = modes.find((input) => input.value === sessionStorage.getItem(MODE));
  if (mode && !mode.checked) mode.click();
};

export function start() {
  if (window.readoutInspect) return;
  window.readoutInspect = true;
  document.addEventListener("keydown", readOnShortcut, true);
  document.addEventListener("input", remember, true);
  document.addEventListener("change", remember, true);
  restore(50);
}
