// Keyboard shortcuts and the dialog that tells them. Single keys can be turned off, for those whose tools send them unasked.

import { h } from "./dom.js";
import { setShortcuts, shortcuts } from "./preferences.js";
import { VIEWS } from "./state.js";

const KEYS = [
  ["1 … 9", "Overview, Routes, Latency, Local, Budgets, Adapters, Exchanges, Worth it?, Drift"], ["[ and ]", "a shorter, a longer time range"], ["r", "choose the time range"], ["l", "live or paused"], ["t", "light or dark"], ["?", "this help"],
  ["← → Home End", "from bar to bar, once a chart has the focus (Tab)"], ["Enter", "open the requests of the bar"], ["Esc", "let go of the bar; close a dialog"],
];

export class Help {
  constructor(dialog) {
    this.dialog = dialog;
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  open() {
    const box = h("input", { type: "checkbox", checked: shortcuts(), onchange: (event) => setShortcuts(event.target.checked) });
    this.dialog.replaceChildren(
      h("div", { class: "panel-head" }, h("h2", { id: "help-title" }, "Keyboard"), h("button", { type: "button", class: "button", autofocus: true, onclick: () => this.dialog.close() }, "Close")),
      h("dl", { class: "keys" }, KEYS.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)))),
      h("p", {}, h("label", { class: "check" }, box, " Single keys are shortcuts in this browser")),
      h("h3", {}, "Words"),
      h("dl", { class: "words" }, WORDS.map(([word, meaning]) => h("div", {}, h("dt", {}, word), h("dd", {}, meaning)))));
    this.dialog.showModal();
  }
}

const WORDS = [
  ["All hosted", "what the same requests would have cost at each route's first hosted model"],
  ["Saved", "all hosted minus what was paid: hosted dollars, the GPU's work, and its idle time"],
  ["Idle GPU", "GPU time that was paid and that no request used"],
  ["Period before", "the same length of time, right before; of a period that is not over, up to the same point"],
  ["–", "not known; it is never counted as zero"],
];

/** Call the page's actions by single keys, unless someone is typing, a dialog is open, or it was turned off. */
export function listen(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, dialog") || document.querySelector("dialog[open]") || !shortcuts()) return;
    const view = VIEWS[Number(event.key) - 1];
    const action = view ? () => actions.view(view) : { "[": actions.shorter, "]": actions.longer, r: actions.range, l: actions.live, t: actions.theme, "?": actions.help }[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}
