// Making elements, and keeping a page as it is while what it shows is asked for anew.

// An element; attributes of the value false or null are left out, true has no value.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else made.setAttribute(attribute, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

// What a person has opened, typed or chosen stays: only what the server says otherwise is changed.
function sameAttributes(now, next) {
  for (const { name, value } of [...next.attributes]) {
    if (now.getAttribute(name) !== value && !(name === "open" && now.localName === "details")) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    const ours = name === "open" || name === "aria-pressed" || name === "data-chosen" || name === "hidden";
    if (!next.hasAttribute(name) && !ours) now.removeAttribute(name);
  }
}

// The first node from a place on that is no text: white space that a script left behind must not make
// what follows it move.
function withoutText(place, until) {
  while (place && place !== until && place.nodeType !== 1) {
    const rest = place.nextSibling;
    place.remove();
    place = rest;
  }
  return place;
}

function moveBefore(around, node, place) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  around.insertBefore(node, place);
  focused?.focus({ preventScroll: true }); // which a move takes away
}

// Turn one element into another one, so that focus, scroll and pictures stay where they are.
export function morph(now, next) {
  if (now.isEqualNode(next) || now.hasAttribute("data-kept")) return;
  sameAttributes(now, next);
  const keyed = new Map([...now.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let place = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const known = keyed.get(keyOf(wanted));
    if (known && known !== place && alike(known, wanted)) {
      place = withoutText(place, known);
      if (known !== place) moveBefore(now, known, place);
      place = known;
    }
    if (place && alike(place, wanted)) {
      if (place.nodeType === 1) morph(place, wanted);
      else if (place.nodeValue !== wanted.nodeValue) place.nodeValue = wanted.nodeValue;
      place = place.nextSibling;
    } else {
      now.insertBefore(document.importNode(wanted, true), place);
    }
  }
  while (place) {
    const rest = place.nextSibling;
    if (!(place.nodeType === 1 && place.hasAttribute("data-kept"))) place.remove();
    place = rest;
  }
}

const FOCUSABLE = "a[href], button:not(:disabled), summary, input:not(:disabled), select, textarea";

// An element and what is around it, to find back to when it is gone.
export function placeOf(element) {
  const place = [];
  for (let at = element; at && at !== document.body && at.localName !== "main"; at = at.parentElement) place.push(at);
  return place;
}

// Where nothing has the focus any more, give it to what is nearest to a place: who works with keys
// is where they were, and what they type next is not lost, or taken for keys of the page.
export function focusNear(place) {
  if (document.activeElement && document.activeElement !== document.body) return;
  for (const around of place.filter((one) => one.isConnected)) {
    const inside = [around, ...around.querySelectorAll(FOCUSABLE)];
    const at = inside.find((one) => one.matches(FOCUSABLE) && one.checkVisibility());
    if (at) {
      at.focus({ preventScroll: true });
      return;
    }
  }
}
