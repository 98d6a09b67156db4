// What the server said about the network; read once.

import { json } from "./api.js";
import { view } from "./state.js";

export const session = { layers: [], backends: [], methods: [], pictures: [] };
const byName = new Map();
/** The picture itself, which can be looked at as a layer can. */
export const INPUT = "input";

export async function begin() {
  Object.assign(session, await json("session"));
  const { channels, height, width } = session.input;
  if (!session.layers.some((one) => one.name === INPUT)) session.layers.unshift({ name: INPUT, kind: INPUT, shape: [1, channels, height, width], units: channels, places: [height, width], maps: true });
  for (const layer of session.layers) byName.set(layer.name, layer);
}

export const layerOf = (name) => byName.get(name);

/** The backend of the view: the one it names, or the first. */
export const backend = () => (session.backends.some((one) => one.name === view.b) ? view.b : session.backends[0].name);

/** The backend beside it, if there is one. */
export const beside = () => (view.other !== backend() && session.backends.some((one) => one.name === view.other) ? view.other : "");

/** What a request about a layer names. */
export const asked = (more = {}) => ({ picture: view.picture, layer: view.layer, b: backend(), ...more });
