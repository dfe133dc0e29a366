// Texts that were kept under a name: save the one in the input, open another, remove one.

import { button, el, messageLine, say } from "../lib/dom.js";

export class KeptTexts {
  // `room`: ask, typed() -> {text, mode}, open(text, mode).
  constructor(room) {
    Object.assign(this, { room, prompts: [] });
    this.name = el("input", {
      type: "text",
      id: "rd-keep-name",
      maxlength: 200,
      placeholder: "A name for it",
    });
    this.list = el("ul", { class: "rd-kept" });
    this.line = messageLine();
    this.save = button({ label: "Save this text", onclick: () => this.keep() });
    this.element = el(
      "div",
      { class: "rd-pop", role: "dialog", "aria-label": "Saved texts", hidden: true },
      this.list,
      el(
        "div",
        { class: "rd-keep" },
        el("label", { class: "rd-vh", for: "rd-keep-name" }, "Name"),
        this.name,
        this.save,
      ),
      this.line,
    );
    this.name.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.keep();
    });
  }

  show(prompts) {
    if (JSON.stringify(prompts) === JSON.stringify(this.prompts) && this.list.firstChild) return;
    this.prompts = prompts;
    const row = (prompt) =>
      el(
        "li",
        {},
        el(
          "button",
          {
            type: "button",
            class: "rd-kept-name",
            title: prompt.text.slice(0, 300),
            onclick: () => this.room.open(prompt.text, prompt.mode),
          },
          prompt.name,
        ),
        button({
          symbol: "trash",
          label: `Remove ${prompt.name}`,
          iconOnly: true,
          onclick: () => this.tell("drop_prompt", { name: prompt.name }),
        }),
      );
    this.list.replaceChildren(
      ...(prompts.length
        ? prompts.map(row)
        : [el("li", { class: "rd-sub" }, "Nothing saved yet.")]),
    );
  }

  keep() {
    const { text, mode } = this.room.typed();
    const name = this.name.value.trim() || text.trim().split(/\s+/).slice(0, 5).join(" ");
    if (!text.trim()) say(this.line, "There is no text to save.");
    else this.tell("keep_prompt", { name, text, mode });
  }

  async tell(what, request) {
    const answer = await this.room.ask(what, request);
    say(this.line, answer.ok ? "" : answer.message);
    if (!answer.ok) return;
    this.name.value = "";
    this.show(answer.prompts);
  }
}
