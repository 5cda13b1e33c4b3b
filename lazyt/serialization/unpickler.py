"""Pickles read without trust: a stack machine that makes plain values and what a table allows.

    RestrictedUnpickler(file, persistent_load).load()

It knows the opcodes that `save` writes for tensors, numbers, strings and containers (pickle's
protocol 2, https://github.com/python/cpython/blob/3.13/Lib/pickletools.py). A name is looked up in
a table and never imported; calls are made of that table's functions only; state is given only to
what is named in it. Nothing that a file says makes it take more memory than the file has bytes, or
more time.
"""

from __future__ import annotations

import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from lazyt.parameter import Parameter
from lazyt.warned import warn

from .allowed import CALLS, DEFAULT, MODULES_NEVER, added, check_key
from .storages import MISSING, dtype_called

_ITEMS = (dict, OrderedDict, Counter)


class RestrictedUnpickler:
    """Reads one pickle.

    file: has `read` and `readline`. persistent_load: gives the storage that a tuple stands for.
    encoding: of the byte strings of Python 2; "bytes" leaves them bytes.

    Errors: UnpicklingError for whatever is not allowed, or no pickle; what the functions raise that
    a program has allowed, as they raise it.
    """

    def __init__(
        self, file: Any, persistent_load: Callable[[Any], Any], *, encoding: str = "utf-8"
    ):
        self._file, self._persistent_load, self._encoding = file, persistent_load, encoding
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under the marks
        self._memo: dict[int, Any] = {}
        self._added = added()
        self._added_ids = {id(thing) for thing in self._added.values()}

    def load(self) -> Any:
        """The object that the pickle holds."""
        while True:
            code = self._file.read(1)
            if not code:
                raise EOFError("Ran out of input")
            if code == pickle.STOP:
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnpicklingError(f"Unsupported operand {code[0]}")
            step(self)

    # --- reading and the stack --------------------------------------------------------------------

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise UnpicklingError("pickle data was truncated")
        return data

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._read(struct.calcsize(form)))[0]

    def _line(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise UnpicklingError("pickle data was truncated")
        return _decoded(line[:-1], "utf-8", "strict")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise UnpicklingError("pickle stack underflow")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise UnpicklingError("pickle stack underflow")
        return self._stack[-1]

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise UnpicklingError("could not find MARK")
        items, self._stack = self._stack, self._below.pop()
        return items

    # --- names and calls --------------------------------------------------------------------------

    def _global(self) -> None:
        module, name = self._line(), self._line()
        if (module, name) in NAME_MAPPING:
            module, name = NAME_MAPPING[module, name]
        else:
            module = IMPORT_MAPPING.get(module, module)
        path = f"{module}.{name}"
        if module in MODULES_NEVER:
            raise UnpicklingError(
                f"Trying to load unsupported GLOBAL {path} whose module {module} is blocked."
            )
        for table in (DEFAULT, self._added):
            if path in table:
                self._push(table[path])
                return
        if module == "torch" and name in MISSING:
            dtype_called(name)
        shown = path.removeprefix("builtins.")
        raise UnpicklingError(
            f"Unsupported global: GLOBAL {shown} was not an allowed global by default. "
            f"Please use `torch.serialization.add_safe_globals([{shown}])` or the "
            f"`torch.serialization.safe_globals([{shown}])` context manager to allowlist this "
            "global if you trust this class/function."
        )

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple:
            raise UnpicklingError(f"Arguments must be a tuple, but got {type(arguments)}")
        if id(function) in self._added_ids:
            self._push(function(*arguments))
        elif id(function) in CALLS:
            self._push(_called(CALLS[id(function)], arguments))
        else:
            raise UnpicklingError(
                f"Trying to call reduce for unrecognized function {_shown(function)}"
            )

    def _new_object(self) -> None:
        arguments, kind = self._pop(), self._pop()
        if type(arguments) is not tuple:
            raise UnpicklingError(f"Arguments must be a tuple, but got {type(arguments)}")
        if kind is Parameter:
            self._push(_called(Parameter, arguments))
        elif id(kind) in self._added_ids:
            self._push(kind.__new__(kind, *arguments))
        elif (kind is OrderedDict or kind is Counter) and not arguments:
            self._push(kind())
        else:
            raise UnpicklingError(
                "Can only create new object for nn.Parameter or classes allowlisted via "
                f"`add_safe_globals` but got {_shown(kind)}"
            )

    def _build(self) -> None:
        state, made = self._pop(), self._top()
        if type(made) is OrderedDict:
            if type(state) is not dict or not all(type(key) is str for key in state):
                raise UnpicklingError("the state of an OrderedDict is a dict of attributes")
            made.__dict__.update(state)
        elif id(type(made)) in self._added_ids:
            _set_state(made, state)
        else:
            raise UnpicklingError(
                "Can only build Tensor, Parameter, OrderedDict or types allowlisted via "
                f"`add_safe_globals`, but got {type(made)}"
            )

    def _persistent(self) -> None:
        saved = self._pop()
        if type(saved) is not tuple:
            raise UnpicklingError(f"persistent_load id must be tuple or int, but got {type(saved)}")
        self._push(self._persistent_load(saved))

    # --- containers -------------------------------------------------------------------------------

    def _append(self) -> None:
        item = self._pop()
        self._list("append to").append(item)

    def _appends(self) -> None:
        items = self._since_mark()
        self._list("extend").extend(items)

    def _list(self, doing: str) -> list[Any]:
        target = self._top()
        if type(target) is not list:
            raise UnpicklingError(f"Can only {doing} lists, but got {type(target)}")
        return target

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set("SETITEM", [key, value])

    def _set_items(self) -> None:
        items = self._since_mark()
        self._set("SETITEMS", items)

    def _set(self, opcode: str, items: list[Any]) -> None:
        target = self._top()
        if type(target) not in _ITEMS:
            raise UnpicklingError(
                f"Can only {opcode} for dict, collections.OrderedDict, collections.Counter, but "
                f"got {type(target)}"
            )
        if len(items) % 2:
            raise UnpicklingError(f"odd number of items for {opcode}")
        for key, value in zip(items[::2], items[1::2]):
            if key.__class__ is not str:
                check_key(key)
            target[key] = value

    def _tuple(self, count: int | None = None) -> None:
        if count is None:
            self._push(tuple(self._since_mark()))
            return
        if len(self._stack) < count:
            raise UnpicklingError("pickle stack underflow")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    # --- values -----------------------------------------------------------------------------------

    def _text(self) -> None:
        self._push(_decoded(self._read_at_most(self._number("<I")), "utf-8", "surrogatepass"))

    def _read_at_most(self, count: int) -> bytes:
        """`count` bytes, in pieces: a length that is none takes no memory."""
        pieces = []
        while count:
            piece = self._read(min(count, 1 << 20))
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def _byte_string(self) -> None:
        data = self._read(self._read(1)[0])
        as_bytes = self._encoding == "bytes"
        self._push(data if as_bytes else _decoded(data, self._encoding, "strict"))

    def _get(self, form: str) -> None:
        place = self._number(form)
        if place not in self._memo:
            raise UnpicklingError(f"Memo value not found at index {place}")
        self._push(self._memo[place])

    def _put(self, form: str) -> None:
        self._memo[self._number(form)] = self._top()

    def _protocol(self) -> None:
        protocol = self._read(1)[0]
        if protocol != 2:
            warn(
                f"Detected pickle protocol {protocol} in the checkpoint, which was not the default "
                "pickle protocol used by `torch.load` (2). The weights_only Unpickler might not "
                "support all instructions implemented by this protocol, please file an issue for "
                "adding support if you encounter this.",
            )


_Step = Callable[[RestrictedUnpickler], None]


def _value(make: Callable[[], Any]) -> _Step:
    return lambda machine: machine._push(make())


def _unpacked(form: str) -> _Step:
    return lambda machine: machine._push(machine._number(form))


_STEPS: dict[bytes, _Step] = {
    pickle.PROTO: RestrictedUnpickler._protocol,
    pickle.GLOBAL: RestrictedUnpickler._global,
    pickle.REDUCE: RestrictedUnpickler._reduce,
    pickle.NEWOBJ: RestrictedUnpickler._new_object,
    pickle.BUILD: RestrictedUnpickler._build,
    pickle.BINPERSID: RestrictedUnpickler._persistent,
    pickle.MARK: RestrictedUnpickler._mark,
    pickle.APPEND: RestrictedUnpickler._append,
    pickle.APPENDS: RestrictedUnpickler._appends,
    pickle.SETITEM: RestrictedUnpickler._set_item,
    pickle.SETITEMS: RestrictedUnpickler._set_items,
    pickle.TUPLE: RestrictedUnpickler._tuple,
    pickle.TUPLE1: lambda machine: machine._tuple(1),
    pickle.TUPLE2: lambda machine: machine._tuple(2),
    pickle.TUPLE3: lambda machine: machine._tuple(3),
    pickle.NONE: _value(lambda: None),
    pickle.NEWFALSE: _value(bool),
    pickle.NEWTRUE: _value(lambda: True),
    pickle.EMPTY_TUPLE: _value(tuple),
    pickle.EMPTY_LIST: _value(list),
    pickle.EMPTY_DICT: _value(dict),
    pickle.EMPTY_SET: _value(set),
    pickle.BININT: _unpacked("<i"),
    pickle.BININT1: _unpacked("<B"),
    pickle.BININT2: _unpacked("<H"),
    pickle.BINFLOAT: _unpacked(">d"),
    pickle.LONG1: lambda m: m._push(pickle.decode_long(m._read(m._read(1)[0]))),
    pickle.BINUNICODE: RestrictedUnpickler._text,
    pickle.SHORT_BINSTRING: RestrictedUnpickler._byte_string,
    pickle.BINGET: lambda machine: machine._get("<B"),
    pickle.LONG_BINGET: lambda machine: machine._get("<I"),
    pickle.BINPUT: lambda machine: machine._put("<B"),
    pickle.LONG_BINPUT: lambda machine: machine._put("<I"),
}


def _called(function: Callable, arguments: tuple) -> Any:
    """A call of ours: arguments that are none of its kind are the file's fault."""
    try:
        return function(*arguments)
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        raise UnpicklingError(f"{type(error).__name__}: {error}") from None


def _decoded(data: bytes, encoding: str, errors: str) -> str:
    try:
        return data.decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise UnpicklingError(f"a text in the pickle is none: {error.reason}") from None


def _shown(thing: Any) -> str:
    """A class or function as it prints; of anything else its type, which has an end."""
    return repr(thing) if isinstance(thing, type) or callable(thing) else repr(type(thing))


def _set_state(made: Any, state: Any) -> None:
    """Gives an object its state as pickle does."""
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        made.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(made, name, value)
