// Reads a CSV file with Tropy's own plugin: `node tropy_driver.js PLUGIN_FOLDER FILE`.
//
// Of Tropy itself there is only what the plugin asks for: which properties are known, by the
// vocabularies that Tropy comes with. Prints the items as JSON-LD, which Tropy expands and stores.
"use strict";

const Module = require("module");
const path = require("path");

const load = Module._load;
Module._load = function (name, ...more) {
  return name === "electron" ? { clipboard: {} } : load.call(this, name, ...more);
};

const [folder, file] = process.argv.slice(2);
const Plugin = require(path.join(path.resolve(folder), "src", "plugin"));
const elements = [
  "title", "creator", "subject", "description", "publisher", "contributor", "date", "type",
  "format", "identifier", "source", "language", "relation", "coverage", "rights",
];
const known = elements.map((name) => `http://purl.org/dc/elements/1.1/${name}`);
known.push("https://tropy.org/v1/tropy#tag", "https://tropy.org/v1/tropy#path");
const props = Object.fromEntries(known.map((name) => [name, {}]));
const fail = (error) => {
  throw error;
};
const plugin = new Plugin({}, {
  window: { store: { getState: () => ({ ontology: { props } }) } },
  dialog: { fail },
  logger: { trace() {}, warn() {} },
});
const payload = { files: [file] };
plugin.import(payload).then(() => console.log(JSON.stringify(payload.data)));
