// What is switched off or added to, as the view has it.

import { exported } from "./api.js";
import { set, view } from "./state.js";

export const without = (layer, unit) => view.edits.filter((one) => one.layer !== layer || one.unit !== unit);
const edit = (layer, unit, mode, amount = 0) => ({ layer, unit, mode, amount });

/** Sets what is changed at a unit, in place of what was. */
export const change = (layer, unit, mode, amount = 0) => set({ edits: [...without(layer, unit), edit(layer, unit, mode, amount)] }, true);

export const isOff = (layer, unit) => view.edits.some((one) => one.layer === layer && one.unit === unit && one.mode === "off");

export function toggleOff(layer, unit) {
  if (exported) return;
  if (isOff(layer, unit)) set({ edits: without(layer, unit) }, true);
  else change(layer, unit, "off");
}
