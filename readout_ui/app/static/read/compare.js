// Compare, a mode of the room: one text with two runs or models, two texts, or two branches of the
// chat; side by side on one colour scale, and B - A.

import { el, say } from "../lib/dom.js";
import { closeDrawer } from "../lib/drawer.js";
import { current, go, onRoute } from "../lib/route.js";
import { small } from "./chat_parts.js";
import { CompareForm, WAYS } from "./compare_form.js";
import { Comparison } from "./comparison.js";
import { followJob, underWay, waitingWords } from "./job.js";

export class CompareView {
  constructor(chat) {
    this.chat = chat;
    this.form = new CompareForm(chat, { runChosen: () => this.fillRuns() });
    this.comparison = new Comparison(chat.room, { ask: (wanted) => this.poll(wanted) });
    this.build();
    this.opener = el(
      "a",
      { class: "btn quiet", href: "#/read?compare=runs", id: "compare-open" },
      "Compare",
    );
    chat.room.place("tools").append(this.opener);
    onRoute(({ room: where, query }) => where === "read" && this.show(query.compare));
  }

  build() {
    this.ways = Object.entries(WAYS).map(([way, words]) =>
      el("a", { class: "rc-way", href: `#/read?compare=${way}`, "data-way": way }, words),
    );
    this.go = small("Compare", () => this.compare(), { class: "btn go", id: "compare-go" });
    const stop = () => this.chat.ask("compare_stop", { chat: this.chat.kept.id });
    this.stop = small("Stop", stop, { class: "btn", id: "compare-stop", hidden: true });
    this.status = el("p", { class: "rc-status", role: "status" });
    this.fault = el("p", { class: "rc-message", role: "alert", hidden: true });
    this.element = el(
      "section",
      { class: "rc-compare", "aria-label": "Compare" },
      el(
        "div",
        { class: "rc-comparehead" },
        el("h2", {}, "Compare"),
        el("nav", { class: "rc-ways", "aria-label": "What is compared" }, this.ways),
        el("span", { class: "rd-space" }),
        el("a", { class: "btn quiet", href: "#/read", id: "compare-close" }, "Back to the text"),
      ),
      this.form.element,
      el("div", { class: "rc-go" }, this.go, this.stop, this.status),
      this.fault,
      this.comparison.element,
    );
  }

  // `way` of the address; nothing closes the view.
  show(way) {
    const open = way in WAYS;
    const { root } = this.chat.room;
    if (open) closeDrawer("read-steer"); // it would lie over one of the two
    if (open) root.append(this.element);
    else this.element.remove();
    root.classList.toggle("rd-comparing", open);
    if (!open) {
      window.dispatchEvent(new Event("resize"));
      return;
    }
    if (way !== this.form.way) this.hideResults();
    for (const link of this.ways)
      link.setAttribute("aria-current", String(link.dataset.way === way));
    this.form.show(way);
    this.fillRuns();
    this.fillLeaves();
  }

  hideResults() {
    this.comparison.hide();
    say(this.fault, "");
    this.status.textContent = "";
  }

  async fillRuns() {
    const { ok, message, notice } = await this.form.fillRuns();
    if (!ok) {
      say(this.fault, message);
      return;
    }
    this.notice = notice;
    this.status.textContent = notice;
    this.go.disabled = Boolean(notice);
  }

  fillLeaves() {
    if (!this.form.fillLeaves() && this.form.ofBranches)
      this.status.textContent =
        "The chat has no two branches yet: regenerate an answer, or edit a turn.";
  }

  openBranches(...ids) {
    this.form.chooseBranches(ids);
    go("#/read?compare=branches");
    if (current().query.compare === "branches") this.fillLeaves();
    this.compare();
  }

  async compare() {
    say(this.fault, "");
    if (this.form.ofBranches || !this.form.runs[0].value) await this.fillRuns();
    this.comparison.renew();
    this.go.disabled = true;
    this.stop.hidden = false;
    const answer = await this.chat.ask("compare_ask", this.form.request);
    if (answer.ok)
      await followJob(
        () => this.poll(this.comparison.wanted),
        (...news) => this.hear(...news),
      );
    else say(this.fault, answer.message);
    this.stop.hidden = true;
    this.go.disabled = Boolean(this.notice);
  }

  poll(wanted) {
    return this.chat.ask("compare_poll", { chat: this.chat.kept.id, ...wanted });
  }

  hear({ message, error, before, stage = "", result }, state) {
    const words = state === "waiting" ? waitingWords(before) : stage;
    this.status.textContent = underWay(state) ? words : "";
    if (message || error) say(this.fault, message || error);
    if (state === "cancelled") this.status.textContent = "Stopped.";
    if (result) this.comparison.take(result);
  }
}
