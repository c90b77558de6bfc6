// One colour per thing, the same in every chart. Backends: hosted in amber tones, local in teal tones. Everything else: eight tones that stay apart for the colour-blind.

import { chip, h } from "./dom.js";

const TONES = { hosted: ["hosted", "hosted-3", "hosted-2", "hosted-4"], local: ["local", "local-3", "local-2", "local-4", "local-5", "local-6", "local-7"] };
const OTHERS = 8;

/** A Map of backend -> {name, kind, sandbox, tone (a CSS class)}, local first so that it sits at the bottom of the bars. */
export function assign(backends, isLocal, sandbox) {
  const kinds = { local: [], hosted: [] };
  for (const backend of [...new Set(backends)].sort()) kinds[isLocal(backend) ? "local" : "hosted"].push(backend);
  const found = new Map();
  for (const kind of ["local", "hosted"]) {
    kinds[kind].forEach((name, index) => found.set(name, { name, kind, sandbox: sandbox.has(name), tone: name === null ? "tone-none" : `tone-${TONES[kind][index % TONES[kind].length]}` }));
  }
  return found;
}

/** A Map of value -> {name, tone} for routes, keys, tags and adapters, in the order given; null (none) is grey. */
export function several(values) {
  let next = 0;
  return new Map(values.map((name) => [name, { name, tone: name === null ? "tone-none" : `tone-${(next++ % OTHERS) + 1}` }]));
}

/** A backend as it is written everywhere: its colour, its name, and a mark where it is the sandbox's. */
export const backend = (name, colours, strong = false) => {
  const known = colours.get(name);
  return h("span", { class: "backend" }, h("span", { class: `swatch ${known?.tone ?? "tone-none"}` }), h(strong ? "b" : "span", { class: "breakable" }, name ?? "no answer"), known?.sandbox ? chip("sandbox", "warn") : null);
};
