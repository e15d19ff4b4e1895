// Texts, numbers and plural forms in the language of the page.
import texts from "./texts.js";

export const language = document.documentElement.lang || "en";
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);

function filled(template, values) {
  return template.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

// A text of the program: what the catalogue lacks is shown in English.
export function _(text, values = {}) {
  const found = texts[text];
  return filled(typeof found === "string" ? found : text, values);
}

// The form that goes with a number, which the text has as {n}.
export function ngettext(singular, plural, n, values = {}) {
  const found = texts[singular];
  const forms = Array.isArray(found) ? found : [singular, plural];
  const form = plurals.select(n) === "one" ? forms[0] : forms[forms.length - 1];
  return filled(form, { n: number(n), ...values });
}

export function number(value, digits) {
  if (digits === undefined) return numbers.format(value);
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

export function images(n) {
  return ngettext("{n} image", "{n} images", n);
}
