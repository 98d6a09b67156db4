"""A pickle machine for tensors in dictionaries, and for nothing else.

``pickle.Unpickler`` is not used, not even with its ``find_class`` replaced: it allocates what a length or a memo index
claims before it looks whether the bytes are there, and it hashes whatever a file names as a dictionary key, nested
tuples whose hash takes for ever included. Here a global is a name that is compared with a short list and never
imported, a call is one of five that are carried out in this file or of none at all, a key is text or a number, and
instructions, bytes and lengths are bounded. No pickle can run code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vizkit.zoo.formats.kinds import KINDS, MAX_TENSORS, Kind, shown
from vizkit.zoo.formats.source import Source
from vizkit.zoo.formats.tensors import Storage, TensorRef, integers

_MAX_INSTRUCTIONS = 40 * MAX_TENSORS
_MAX_BYTES = 16 << 20
_MAX_TEXT = 1 << 20

STORAGES = {
    "BoolStorage": "bool",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "UntypedStorage": "uint8",
}
"""PyTorch's storage classes, and the element type of each."""

CALLABLE = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.nn.parameter.Parameter",
}
"""What a pickle may call; the unpickler carries each out itself."""


@dataclass(frozen=True)
class Global:
    """The name of an admitted global, and the element type where it is a storage class."""

    name: str
    kind: Kind | None = None


def _admitted(module: str, name: str) -> Global | None:
    """The global of this name, compared as text, or None where tensors do not need it."""
    if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
        return Global(name, KINDS[STORAGES[name]])
    full = f"{module}.{name}"
    return Global(full) if full in CALLABLE else None


class Inert:
    """Something that a checkpoint holds beside its tensors, a setting, an optimiser's state: its global's name alone.
    Nothing of it is made or called."""

    def __init__(self, name: str) -> None:
        self.name = name


class Unpickler:
    """Reads one pickle at the position of ``source`` and leaves ``source`` behind it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack: list[object] = []
        self._marks: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self.kinds: dict[str, tuple[Kind, int]] = {}  # storage key -> element type, number of elements

    def load(self) -> object:
        """The object: dictionaries (ordered ones too) as dict, tensors as TensorRef, text, numbers, lists, tuples, and
        :class:`Inert` for what tensors do not need.

        Raises:
            WeightsError: the pickle is damaged, or exceeds the bounds.
        """
        limit = self._source.position + _MAX_BYTES
        for _ in range(_MAX_INSTRUCTIONS):
            code = self._source.take(1)
            if code == b".":
                if len(self._stack) != 1 or self._marks:
                    raise self._source.corrupt("its pickle ends in the middle of an object")
                return self._stack.pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise self._source.corrupt(f"its pickle has the instruction 0x{code.hex()}, which tensors do not need")
            action(self)
            if self._source.position > limit:
                break
        raise self._source.corrupt("its pickle is larger than any network's")

    def _pop(self) -> object:
        if not self._stack:
            raise self._source.corrupt("its pickle takes an object that is not there")
        return self._stack.pop()

    def _top(self) -> object:
        self._stack.append(item := self._pop())
        return item

    def _push(self, item: object) -> None:
        self._stack.append(item)

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _to_mark(self) -> list[object]:
        if not self._marks:
            raise self._source.corrupt("its pickle closes a group that it never opened")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _number(self, layout: str) -> int:
        return self._source.unpack(layout)[0]

    def _integer(self) -> None:
        self._push(int.from_bytes(self._source.take(self._number("<B")), "little", signed=True))

    def _text(self, layout: str) -> None:
        length = self._number(layout)
        self._source.need(length)
        if length > _MAX_TEXT:
            raise self._source.corrupt(f"its pickle has a text of {length} bytes")
        self._push(self._source.take(length).decode("utf-8", "backslashreplace"))

    def _group(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _append(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, Inert):
            return
        if not isinstance(target, list):
            raise self._source.corrupt("its pickle appends to something that is no list")
        target.extend(items)

    def _set_items(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, Inert):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise self._source.corrupt("its pickle sets an item of something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int)):  # the hash of nested tuples can take for ever
                raise self._source.corrupt(f"its pickle has a dictionary key of type {type(key).__name__}")
            target[key] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _remember(self, index: int) -> None:
        self._memo[index] = self._top()

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise self._source.corrupt("its pickle refers to an object that it never made")
        self._push(self._memo[index])

    def _global(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise self._source.corrupt("its pickle names a global by something that is no text")
        self._push(_admitted(module, name) or Inert(f"{module}.{name}"))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._global(module, name)

    def _call(self) -> None:
        given, function = self._pop(), self._pop()
        if isinstance(function, Inert):
            self._push(function)
            return
        if not isinstance(function, Global) or not isinstance(given, tuple):
            raise self._source.corrupt("its pickle calls something that cannot be called")
        short = function.name.rpartition(".")[2]
        if short == "OrderedDict":
            self._push(self._ordered(given))
        elif short in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            self._push(self._tensor(given))
        elif function.kind is None and given and isinstance(given[0], TensorRef):  # a parameter is its tensor
            self._push(given[0])
        else:
            raise self._source.corrupt(f"its pickle calls {function.name} with arguments that do not fit")

    def _call_with_names(self) -> None:
        self._pop()
        self._call()

    def _bytes(self, layout: str) -> None:
        self._source.skip(self._number(layout))
        self._push(Inert("bytes"))

    def _ordered(self, given: tuple[object, ...]) -> object:
        pairs = given[0] if len(given) == 1 else []  # Python 2 passed the items, Python 3 sets them afterwards
        self._push({})
        for pair in pairs if isinstance(pairs, list) else [None]:
            if not isinstance(pair, (list, tuple)) or len(pair) != 2:
                raise self._source.corrupt("its pickle makes a dictionary of something that is not pairs")
            self._set_items(list(pair))
        return self._pop()

    def _tensor(self, given: tuple[object, ...]) -> TensorRef:
        storage, offset, shape, strides = given[:4] if len(given) >= 4 else (None,) * 4
        where, sizes, steps = integers((offset,)), integers(shape), integers(strides)
        if not isinstance(storage, Storage) or where is None or sizes is None or steps is None:
            raise self._source.corrupt("a tensor in it has no storage, or a negative or missing size")
        return TensorRef(storage, where[0], sizes, steps)

    def _persistent(self) -> None:
        """A storage: ("storage", class, key, device, number of elements[, (view key, start, length) or None])."""
        view: tuple[int, ...] | None = ()
        match self._pop():
            case ("storage", Global(kind=Kind() as kind), str() as key, _, int() as count, *rest):
                if rest and rest[0] is not None:
                    view = integers(rest[0][1:]) if isinstance(rest[0], tuple) and len(rest[0]) == 3 else None
            case ("module", Inert() as found, *_):  # a whole module, in files before PyTorch 1.6
                self._push(found)
                return
            case _:
                raise self._source.corrupt("its pickle describes a storage in a way that torch.save does not")
        if count < 0 or view is None or self.kinds.setdefault(key, (kind, count)) != (kind, count):
            raise self._source.corrupt(f"storage {shown(key)} is described twice, differently, or with a negative size")
        self._push(Storage(key, kind, count, *view))

    def _build(self) -> None:
        """Attributes of a dictionary or a tensor (``_metadata``, hooks) are dropped: they say nothing of the values."""
        self._pop()
        if not isinstance(self._top(), (dict, TensorRef, Inert)):
            raise self._source.corrupt("its pickle gives attributes to something that has none")


_ACTIONS: dict[bytes, Callable[[Unpickler], object]] = {
    b"\x80": lambda u: u._source.take(1),  # protocol
    b"\x95": lambda u: u._source.take(8),  # frame: a hint for buffering
    b"(": Unpickler._mark,
    b"N": lambda u: u._push(None),
    b"\x88": lambda u: u._push(True),
    b"\x89": lambda u: u._push(False),
    b"J": lambda u: u._push(u._number("<i")),
    b"K": lambda u: u._push(u._number("<B")),
    b"M": lambda u: u._push(u._number("<H")),
    b"\x8a": Unpickler._integer,
    b"G": lambda u: u._push(u._number(">d")),
    b"X": lambda u: u._text("<I"),
    b"\x8c": lambda u: u._text("<B"),
    b"T": lambda u: u._text("<i"),  # Python 2's text
    b"U": lambda u: u._text("<B"),
    b")": lambda u: u._push(()),
    b"t": lambda u: u._push(tuple(u._to_mark())),
    b"\x85": lambda u: u._group(1),
    b"\x86": lambda u: u._group(2),
    b"\x87": lambda u: u._group(3),
    b"]": lambda u: u._push([]),
    b"}": lambda u: u._push({}),
    b"a": lambda u: u._append([u._pop()]),
    b"e": lambda u: u._append(u._to_mark()),
    b"s": Unpickler._set_item,
    b"u": lambda u: u._set_items(u._to_mark()),
    b"q": lambda u: u._remember(u._number("<B")),
    b"r": lambda u: u._remember(u._number("<I")),
    b"\x94": lambda u: u._remember(len(u._memo)),
    b"h": lambda u: u._recall(u._number("<B")),
    b"j": lambda u: u._recall(u._number("<I")),
    b"c": lambda u: u._global(u._source.line(), u._source.line()),
    b"\x93": Unpickler._stack_global,
    b"R": Unpickler._call,
    b"\x81": Unpickler._call,  # object construction: only Parameter arrives here, and is its tensor
    b"Q": Unpickler._persistent,
    b"b": Unpickler._build,
    b"B": lambda u: u._bytes("<I"),
    b"C": lambda u: u._bytes("<B"),
    b"\x8f": lambda u: u._push([]),  # a set: nothing that is read needs one
    b"\x90": lambda u: u._append(u._to_mark()),
    b"\x91": lambda u: u._push(tuple(u._to_mark())),
    b"\x92": Unpickler._call_with_names,
}
