// Showing the page as it is now, without losing where a person is on it.
import { read } from "./api.js";
import { focusNear, morph, placeOf } from "./dom.js";

const SECONDS = 5; // between two looks whether somebody else has changed something

const listeners = new Set();
let version = null;
let going = null;

// Be told when the page was made anew, to put back what scripts had added.
export function onRefresh(listener) {
  listeners.add(listener);
}

async function anew() {
  // Before the page, so that what changes between the two is seen at the next look; else that look
  // would take what is shown now for a change: a page of 20,000 images would be made twice.
  const now = await versionNow();
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok && answer.status !== 404) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  const place = placeOf(document.activeElement);
  for (const selector of ["header.where", "main", "footer"]) {
    const [now, wanted] = [document, next].map((page) => page.querySelector(selector));
    if (now && wanted) morph(now, wanted);
  }
  document.title = next.title;
  if (now) version = now;
  for (const listener of listeners) listener();
  focusNear(place);
}

// One at a time: a second wish while the page is asked for is fulfilled by one more, after it.
export function refresh() {
  const before = going || Promise.resolve();
  going = before.then(anew).catch(() => {});
  return going;
}

const versionNow = async () => (await read("version").catch(() => null))?.version;

async function look() {
  if (document.visibilityState !== "visible") return;
  const before = version;
  const now = await versionNow();
  // Where it has changed here meanwhile, the page was made anew.
  if (now && before === version) {
    if (version && now !== version) refresh(); // which takes it over, once the page shows it
    else version = now;
  }
}

export function watch() {
  look();
  setInterval(look, 1000 * SECONDS);
  document.addEventListener("visibilitychange", look);
}
