// What is said to a person below the page: notices that go by themselves, and acts that go on.
import { element } from "./dom.js";
import { _ } from "./language.js";

const SECONDS = 10; // as long as an act can be taken back with one click there

const place = () => document.getElementById("notices");

// Say something; `doing` is a list of [text, function] for buttons.
export function tell(text, { doing = [], wrong = false, seconds = SECONDS } = {}) {
  const notice = element("div", { class: wrong ? "notice wrong" : "notice", role: wrong ? "alert" : "status" }, element("p", {}, text));
  const close = () => notice.remove();
  for (const [name, does] of doing) {
    notice.append(element("button", { type: "button", onclick: () => (close(), does()) }, name));
  }
  notice.append(element("button", { type: "button", class: "close", "aria-label": _("Close this notice"), onclick: close }, "×"));
  // One at a time, or nobody knows what "Undo" means; acts that go on have lines of their own.
  if (!wrong) place().querySelectorAll(".notice:not(.wrong, .ongoing)").forEach((old) => old.remove());
  place().append(notice);
  if (!wrong) {
    let fading = setTimeout(close, 1000 * seconds);
    // Who reads it, or is about to press its button, is not hurried.
    for (const [starts, ends] of [["pointerenter", "pointerleave"], ["focusin", "focusout"]]) {
      notice.addEventListener(starts, () => clearTimeout(fading));
      notice.addEventListener(ends, () => (fading = setTimeout(close, 3000)));
    }
  }
  return close;
}

export const refused = (error) => tell(error.message, { wrong: true });

// A line for an act that goes on: what, how far, and a button that stops it.
export function ongoing(what, cancel) {
  const bar = element("progress", { "aria-label": what });
  const far = element("span", { class: "soft" });
  const button = element("button", { type: "button" }, _("Cancel"));
  button.addEventListener("click", () => {
    button.disabled = true;
    cancel().catch((error) => {
      button.disabled = false;
      refused(error);
    });
  });
  const line = element("div", { class: "notice ongoing", role: "status" }, element("p", {}, what, " ", far), bar, button);
  // What is over in a blink needs no line.
  const showing = setTimeout(() => place().append(line), 250);
  return {
    progress(word, done, total) {
      bar.max = total || 1;
      bar.value = done;
      far.textContent = `${word} ${done}/${total}`;
    },
    end() {
      clearTimeout(showing);
      line.remove();
    },
  };
}
