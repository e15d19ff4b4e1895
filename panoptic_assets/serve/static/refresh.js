// Showing the page as it is now, without losing where a person is on it.
import { read } from "./api.js";
import { morph } from "./dom.js";

const SECONDS = 5; // between two looks whether somebody else has changed something

const listeners = new Set();
let version = null;
let going = null;

// Be told when the page was made anew, to put back what scripts had added.
export function onRefresh(listener) {
  listeners.add(listener);
}

async function anew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok && answer.status !== 404) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of ["header.where", "main", "footer"]) {
    const [now, wanted] = [document, next].map((page) => page.querySelector(selector));
    if (now && wanted) morph(now, wanted);
  }
  document.title = next.title;
  for (const listener of listeners) listener();
}

// One at a time: a second wish while the page is asked for is fulfilled by one more, after it.
export function refresh() {
  const before = going || Promise.resolve();
  going = before.then(anew).catch(() => {});
  return going;
}

async function look() {
  if (document.visibilityState !== "visible") return;
  const now = (await read("version").catch(() => null))?.version;
  if (now && version && now !== version) refresh();
  if (now) version = now;
}

export function watch() {
  look();
  setInterval(look, 1000 * SECONDS);
  document.addEventListener("visibilitychange", look);
}
