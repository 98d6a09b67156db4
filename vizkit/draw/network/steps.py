"""A graph as a drawing tells it: operations in steps, steps in blocks where paths part and meet, blocks that repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...contract.graph import ACTIVATIONS, INPUT, Graph, Node

FOLLOW = ACTIVATIONS | {"batch_norm", "local_response_norm", "dropout", "softmax", "flatten"}
"""Kinds that are drawn as part of the step before them when nothing else reads that step."""

LONGEST = 6
"""Items that may repeat together."""


@dataclass(frozen=True)
class Step:
    """Operations in a row of which only the last is read by others; ``inputs`` are the steps that the first reads, and
    ``joined`` is how long a concatenation is along the axis that it joins, None where it is none or nobody can tell."""

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    joined: int | None = None

    @property
    def kind(self) -> str:
        """The kind of the first operation, which names the step."""
        return self.nodes[0].kind

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the result, before it is laid out in a row."""
        return next((node.shape for node in reversed(self.nodes) if node.kind != "flatten"), self.nodes[-1].shape)


@dataclass(frozen=True)
class Item:
    """One step, or a block: steps between two through which everything passes, or some such that repeat together.
    ``copies`` are the names of further ones in a row that are the same but for their weights, drawn once; ``last`` is
    the last of their steps."""

    name: str
    steps: tuple[int, ...]
    copies: tuple[str, ...] = ()
    last: int = 0

    @property
    def is_block(self) -> bool:
        """Whether paths part inside."""
        return len(self.steps) > 1


def steps(graph: Graph) -> list[Step]:
    """The graph with norms, activations and the like joined to what they follow."""
    readers: dict[str, int] = {}
    for source, _ in graph.edges:
        readers[source] = readers.get(source, 0) + 1
    chains: list[list[Node]] = []
    at: dict[str, int] = {}
    for node in graph.nodes:
        source = node.inputs[0] if len(node.inputs) == 1 else ""
        joined = node.kind in FOLLOW and source not in ("", INPUT) and readers[source] == 1
        if joined:
            at[node.name] = at[source]
            chains[at[source]].append(node)
        else:
            at[node.name] = len(chains)
            chains.append([node])
    shapes = {node.name: node.shape for node in graph.nodes}
    return [
        Step(tuple(chain), tuple(dict.fromkeys(at[name] for name in chain[0].inputs)), joined_size(chain[0], shapes))
        for chain in chains
    ]


def joined_size(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """How long a concatenation's result is along its axis, the only one at which it is longer than what it joins."""
    parts = [shapes[name] for name in node.inputs]
    if node.kind != "concat" or not parts or len({len(one) for one in (node.shape, *parts)}) > 1:
        return None
    longer = [size for axis, size in enumerate(node.shape) if any(one[axis] != size for one in parts)]
    return longer[0] if len(longer) == 1 else None


def items(found: Sequence[Step], collapse: bool = True) -> list[Item]:
    """Steps and blocks in a row. ``collapse`` draws equal parts that follow each other once, where a block is among
    them."""
    passes = _bottlenecks(found)
    out: list[Item] = []
    start = 0
    for i in range(len(found)):
        if i not in passes:
            continue
        part = tuple(range(start, i + 1))
        start = i + 1
        if len(part) > 1:
            part = _with_stem(found, out, part)
        out.append(Item(_title(found, part), part, last=i))
    return _collapsed(found, out) if collapse else out


def _bottlenecks(found: Sequence[Step]) -> set[int]:
    """Steps that no path goes round: in order of computation no edge leads over them. The last is one of them."""
    reach = list(range(len(found)))
    for i, step in enumerate(found):
        for source in step.inputs:
            reach[source] = max(reach[source], i)
    furthest, passes = 0, {len(found) - 1}
    for i in range(len(found)):
        if furthest <= i:
            passes.add(i)
        furthest = max(furthest, reach[i])
    return passes


def _with_stem(found: Sequence[Step], out: list[Item], part: tuple[int, ...]) -> tuple[int, ...]:
    """The part and the single steps just before it that have its name in front."""
    prefix = _prefix(found, part)
    while prefix and out and not out[-1].is_block and _names(found, out[-1].steps)[0].startswith(f"{prefix}."):
        part = (*out.pop().steps, *part)
    return part


def _names(found: Sequence[Step], part: Sequence[int]) -> list[str]:
    return [node.name for i in part for node in found[i].nodes]


def _prefix(found: Sequence[Step], part: Sequence[int]) -> str:
    """The innermost block's name with which the names of all steps begin."""
    parts = [found[i].nodes[0].name.replace("/", ".").split(".")[:-1] for i in part]
    shared: list[str] = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return ".".join(shared)


def _title(found: Sequence[Step], part: tuple[int, ...]) -> str:
    names = _names(found, part)
    if len(part) == 1:
        return names[0]
    return _prefix(found, part) or f"{names[0]} … {names[-1]}"


def _signature(found: Sequence[Step], item: Item) -> object:
    """Equal for blocks that differ in their names and weights alone."""
    first = item.steps[0]
    return [
        (
            [(node.kind, node.shape, node.parameters, sorted(node.settings.items())) for node in found[i].nodes],
            [k - first if k >= first else -1 for k in found[i].inputs],
        )
        for i in item.steps
    ]


def _collapsed(found: Sequence[Step], row: Sequence[Item]) -> list[Item]:
    """Each run of equal blocks as one, or of equal parts of a few items, such as a transformer's attention and the
    dense layers behind it."""
    signs = [_signature(found, item) for item in row]
    out: list[Item] = []
    at = 0
    while at < len(row):
        runs = {period: _run(signs, at, period) for period in range(1, LONGEST + 1)}
        period = max(runs, key=lambda one: (runs[one] * one if runs[one] > 1 else 0, -one))
        parts = [row[k : k + period] for k in range(at, at + runs[period] * period, period)]
        if runs[period] == 1 or not any(item.is_block for item in parts[0]):
            period, parts = 1, [row[at : at + 1]]
        joined = [tuple(i for item in part for i in item.steps) for part in parts]
        names = [_title(found, steps) for steps in joined]
        if len(set(names)) < len(names):
            names = [" + ".join(dict.fromkeys(item.name for item in part)) for part in parts]
        out.append(Item(names[0], joined[0], tuple(names[1:]), joined[-1][-1]))
        at += period * len(parts)
    return out


def _run(signs: Sequence[object], at: int, period: int) -> int:
    """How often the next ``period`` items come, one time after the other."""
    count = 1
    while signs[at : at + period] == signs[at + count * period : at + (count + 1) * period]:
        count += 1
    return count


def copies(item: Item) -> list[Item]:
    """A block and its copies, one by one."""
    size = len(item.steps)
    starts = range(item.steps[0], item.last + 1, size)
    parts = [tuple(range(start, start + size)) for start in starts]
    return [Item(name, part, last=part[-1]) for name, part in zip((item.name, *item.copies), parts, strict=True)]


def label(step: Step, words: Mapping[str, str]) -> str:
    """What a step does, short: "conv 3×3, 64 /2"."""
    node = step.nodes[0]
    word = words.get(node.kind, node.kind.replace("_", " "))
    kernel = node.settings.get("kernel")
    if kernel is None:
        size = node.shape[-1] if node.kind == "linear" else step.joined
        return word if size is None else f"{word}, {size}"
    if node.kind in ("max_pool", "avg_pool") and node.shape[2:] == (1, 1):
        return f"global {word}"
    channels = f", {node.shape[1]}" if node.kind in ("conv", "conv_transpose") else ""
    stride = node.settings["stride"]
    by = f" /{stride[0]}" if max(stride) > 1 else ""
    return f"{word} {kernel[0]}×{kernel[1]}{channels}{by}"
