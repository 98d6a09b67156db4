// Where the boxes of the network go: from top to bottom, parallel paths side by side, a frame around an open block.

const HEIGHT = 42, WIDE = [216, 200, 184], NARROW = 134, GAP = 10, DOWN = 18, HEAD = 32, INSET = 9;

/**
 * Boxes and lines of what is open.
 * @returns {{width, height, boxes: [{key, node|block, open, x, y, width, height, level}], lines: [{from, to, round}]}}
 */
export function layout({ nodes, edges, blocks }, open) {
  const blockOf = new Map(blocks.map((one) => [one.id, one]));
  const home = new Map(nodes.map((one) => [one.id, one.block ?? null]));
  const inside = new Map([[null, { nodes: [], blocks: [] }], ...blocks.map((one) => [one.id, { nodes: [], blocks: [] }])]);
  for (const one of nodes) inside.get(one.block ?? null).nodes.push(one);
  for (const one of blocks) inside.get(one.parent ?? null).blocks.push(one);

  /** From the outermost block to the node itself: the keys of what holds it. */
  const path = (id) => {
    const out = [`n${id}`];
    for (let at = home.get(id); at !== null && at !== undefined; at = blockOf.get(at).parent ?? null) out.unshift(`b${at}`);
    return out;
  };
  const paths = new Map(nodes.map((one) => [one.id, path(one.id)]));
  const levels = new Map();
  for (const [from, to] of edges) {
    const a = paths.get(from), b = paths.get(to);
    if (!a || !b) continue;
    let k = 0;
    while (a[k] === b[k] && k < a.length - 1 && k < b.length - 1) k++;
    const level = k ? a[k - 1] : "";
    if (!levels.has(level)) levels.set(level, []);
    levels.get(level).push([a[k], b[k]]);
  }

  const boxes = [];
  function place(id, level) {
    const key = id === null ? "" : `b${id}`;
    const { nodes: own, blocks: held } = inside.get(id);
    const items = [...own.map((node) => ({ key: `n${node.id}`, node, level })),
      ...held.map((block) => ({ key: `b${block.id}`, block, level, open: open.has(block.id) }))];
    const ranks = rank(items, levels.get(key) ?? []);
    for (const row of ranks) {
      for (const item of row) {
        item.width = row.length > 1 ? NARROW : WIDE[Math.min(level, WIDE.length) - 1];
        item.height = HEIGHT;
        if (item.open) item.inner = place(item.block.id, level + 1);
        if (item.open) [item.width, item.height] = [item.inner.width + 2 * INSET, item.inner.height + HEAD + INSET];
      }
    }
    const across = (row) => row.reduce((sum, item) => sum + item.width + GAP, -GAP);
    const width = Math.max(NARROW, ...ranks.map(across));
    let y = 0;
    for (const row of ranks) {
      let x = (width - across(row)) / 2;
      const tall = Math.max(...row.map((item) => item.height));
      for (const item of row) {
        item.x = x;
        item.y = y + (tall - item.height) / 2;
        x += item.width + GAP;
      }
      y += tall + DOWN;
    }
    return { width, height: Math.max(y - DOWN, 0), ranks };
  }

  function settle({ ranks }, left, top) {
    for (const row of ranks) {
      for (const item of row) {
        const { inner, ...box } = item;
        boxes.push({ ...box, x: left + item.x, y: top + item.y });
        if (inner) settle(inner, left + item.x + INSET, top + item.y + HEAD);
      }
    }
  }
  const all = place(null, 1);
  settle(all, INSET, 2);

  const shown = new Map(boxes.filter((one) => !one.open).map((one) => [one.key, one]));
  const seen = (id) => shown.get(paths.get(id).find((key) => shown.has(key)));
  const lines = new Map();
  for (const [from, to] of edges) {
    if (!paths.has(from) || !paths.has(to)) continue;
    const a = seen(from), b = seen(to);
    if (a !== b) lines.set(`${a.key} ${b.key}`, { from: a, to: b });
  }
  const leaves = [...shown.values()];
  for (const line of lines.values()) line.round = crosses(line, leaves);
  const wide = [...lines.values()].some((one) => one.round) ? 18 : 0;
  return { width: all.width + 2 * INSET + wide, height: all.height + 4, boxes, lines: [...lines.values()] };
}

/** Items by their longest way from the start, in the order in which they were given. */
function rank(items, edges) {
  const at = new Map(items.map((item) => [item.key, 0]));
  const after = new Map(items.map((item) => [item.key, []]));
  const waits = new Map(items.map((item) => [item.key, 0]));
  for (const [a, b] of edges) {
    after.get(a)?.push(b);
    waits.set(b, (waits.get(b) ?? 0) + 1);
  }
  const ready = items.map((item) => item.key).filter((key) => !waits.get(key));
  for (const key of ready) {
    for (const one of after.get(key)) {
      at.set(one, Math.max(at.get(one), at.get(key) + 1));
      waits.set(one, waits.get(one) - 1);
      if (!waits.get(one)) ready.push(one);
    }
  }
  // Without edges (a network whose graph cannot be traced) the list is the order.
  if (!edges.length) return items.map((item) => [item]);
  const rows = [];
  for (const item of items) (rows[at.get(item.key)] ??= []).push(item);
  return rows.filter(Boolean);
}

/** Whether a straight line would run over another box. */
function crosses({ from, to }, boxes) {
  const [x, top, bottom] = [from.x + from.width / 2, from.y + from.height, to.y];
  const end = to.x + to.width / 2;
  return boxes.some((one) => {
    if (one === from || one === to || one.y + one.height <= top + 1 || one.y >= bottom - 1) return false;
    const share = (one.y + one.height / 2 - top) / Math.max(bottom - top, 1);
    const at = x + share * (end - x);
    return at > one.x - 2 && at < one.x + one.width + 2;
  });
}
