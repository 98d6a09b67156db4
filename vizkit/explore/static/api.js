// Talks with the server, or with the answers that an exported site carries with it.

const EXPORT = globalThis.VIZKIT_EXPORT ?? null;
export const exported = EXPORT !== null;
export const exportedView = EXPORT?.view ?? "";
export const exportedViews = EXPORT?.views ?? [];

const ARRAYS = { float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array };
const running = new Map();
let translate = (name) => name;

export function words(call) { translate = call; }

export class ApiError extends Error {}

/** A signal for the newest request of its kind; the one before it is given up. */
export function latest(slot) {
  running.get(slot)?.abort();
  const control = new AbortController();
  running.set(slot, control);
  return control.signal;
}

/** Path and parameters, sorted and without empty ones: the same text for the same request. */
export function address(path, params = {}) {
  const known = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  known.sort(([a], [b]) => (a < b ? -1 : 1));
  const query = new URLSearchParams(known.map(([name, value]) => [name, String(value)])).toString();
  return query ? `${path}?${query}` : path;
}

function carried(key) {
  const found = EXPORT.answers[key];
  if (!found) throw new ApiError(translate("notExported"));
  return found;
}

const decode = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer;

/** A mark on the document while answers are waited for, but not for those that come at once. */
let waiting = 0;
async function patiently(call) {
  waiting++;
  setTimeout(() => { if (waiting) document.documentElement.dataset.busy = ""; }, 250);
  try {
    return await call();
  } finally {
    if (!--waiting) delete document.documentElement.dataset.busy;
  }
}

async function ask(key, options = {}) {
  let response;
  try {
    response = await patiently(() => fetch(`api/${key}`, options));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(translate("noServer"));
  }
  if (response.ok) return response;
  let sentence = `${response.status} ${response.statusText}`;
  try { sentence = (await response.json()).error ?? sentence; } catch { /* not JSON: the status says it */ }
  throw new ApiError(sentence);
}

export async function json(path, params = {}, signal = undefined) {
  const key = address(path, params);
  return exported ? carried(key).data : (await ask(key, { signal })).json();
}

/** Arrays of a binary answer, beside what its header says. */
export async function frame(path, params = {}, signal = undefined) {
  const key = address(path, params);
  return unpack(exported ? decode(carried(key).data) : await (await ask(key, { signal })).arrayBuffer());
}

export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const out = { ...header, shapes: {} };
  for (const [name, { dtype, shape, offset }] of Object.entries(header.arrays)) {
    const size = shape.reduce((product, one) => product * one, 1);
    out[name] = new ARRAYS[dtype](buffer, 4 + length + offset, size);
    out.shapes[name] = shape;
  }
  return out;
}

/** Whether a picture can be shown: an exported site has those of its views alone. */
export const hasPicture = (id) => !exported || address("picture", { picture: id }) in EXPORT.answers;

export function pictureAddress(id) {
  const key = address("picture", { picture: id });
  return exported ? `data:image/png;base64,${carried(key).data}` : `api/${key}`;
}

export async function upload(blob, name) {
  const headers = { "X-Name": encodeURIComponent(name) };
  return (await ask("pictures", { method: "POST", body: blob, headers })).json();
}

/** Where the figure of a view is downloaded from. */
export const saveAddress = (view) => `api/${address("save", { view })}`;

const listed = (name, value) => (name === "edits" ? JSON.stringify(value) : Array.isArray(value) ? value.join(",") : value);
const jobKey = (body) => address("jobs", Object.fromEntries(
  Object.entries(body).map(([name, value]) => [name, listed(name, value)])));

/**
 * Begins work that takes a while. `on` has `step`, `result` (with its arrays), `error` and `end`; each may be absent.
 * Returns a function that stops it.
 */
export function job(body, on) {
  let stopped = false, source = null, id = null;
  let chain = Promise.resolve();
  const call = (name, ...values) => { if (!stopped) on[name]?.(...values); };
  const remove = () => fetch(`api/jobs/${id}`, { method: "DELETE" }).catch(() => {});
  const end = () => chain.then(() => { source?.close(); call("end"); stopped = true; });
  const fail = (error) => chain.then(() => { source?.close(); call("error", error); call("end"); stopped = true; });

  async function replay() {
    const { events, results } = carried(jobKey(body));
    for (const [name, data] of events) {
      if (name === "result") call("result", data, unpack(decode(results[data.n])));
      else if (name !== "end") call(name, data);
    }
    end();
  }

  async function start() {
    const headers = { "Content-Type": "application/json" };
    id = (await (await ask("jobs", { method: "POST", body: JSON.stringify(body), headers })).json()).job;
    if (stopped) return remove();
    source = new EventSource(`api/jobs/${id}`);
    source.addEventListener("step", (event) => call("step", JSON.parse(event.data)));
    source.addEventListener("result", (event) => {
      const data = JSON.parse(event.data);
      // One after another, so that a dream's pictures come in their order.
      chain = chain.then(() => stopped ? null : frame(`jobs/${id}/${data.n}`).then(
        (arrays) => call("result", data, arrays), (error) => call("error", error)));
    });
    source.addEventListener("error", (event) => {
      if (event.data) call("error", new ApiError(JSON.parse(event.data).error));
      else fail(new ApiError(translate("noServer")));
    });
    source.addEventListener("end", end);
    return null;
  }

  (exported ? replay() : start()).catch(fail);
  return () => {
    if (stopped) return;
    stopped = true;
    source?.close();
    if (id && !exported) remove();
  };
}
