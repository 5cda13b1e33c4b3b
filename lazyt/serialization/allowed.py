"""What a file may ask for when only weights are loaded: a table, and what a program adds to it.

    with safe_globals([Config]):
        load("run.pt")          # may make a Config

Everything else a file names is refused before anything of it runs. What the table has is also held
to the arguments that a saved value has: `bytearray(b"..")` is one, `bytearray(10**12)` is not.
"""

from __future__ import annotations

from _codecs import encode
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

from lazyt.device import Device
from lazyt.size import Size

from .names import FIXED, name_of
from .rebuild import TENSORS, rebuild_from_type_v2

MODULES_NEVER = ("sys", "os", "posix", "nt")  # whatever a program allows
LAYOUTS = ("torch.strided",)


def get_layout(name: str) -> str:
    """A layout by its name."""
    if name not in LAYOUTS:
        raise UnpicklingError("the file has a tensor layout that is missing here")
    return name


def _latin1(text: Any, codec: Any) -> bytes:
    """Bytes, which protocol 2 writes as a text of their values."""
    if codec != "latin1" or text.__class__ is not str:
        raise UnpicklingError("Only bytes in latin1 can be encoded by a file")
    return encode(text, codec)


def _bytearray(data: Any = b"") -> bytearray:
    if data.__class__ is not bytes:
        raise UnpicklingError(f"a bytearray is made of bytes, not of {type(data).__name__}")
    return bytearray(data)


def _listed(make: Callable) -> Callable:
    def made(items: Any = ()) -> Any:
        if items.__class__ not in (list, tuple, dict):
            raise UnpicklingError(f"a container is made of a list, not of {type(items).__name__}")
        for item in items:
            check_key(item if make is not OrderedDict or items.__class__ is dict else item[0])
        return make(items)

    return made


def _complex(real: Any, imag: Any) -> complex:
    if real.__class__ is not float or imag.__class__ is not float:
        raise UnpicklingError("a complex number is made of two floats")
    return complex(real, imag)


def check_key(key: Any) -> None:
    """UnpicklingError for a key that cannot be hashed, or not in a time of its own size: tuples of
    tuples, each twice in the next, have a hash that takes for ever."""
    pending, seen = [key], 0
    while pending:
        item = pending.pop()
        seen += 1
        if seen > 1000:
            raise UnpicklingError("a key of more than 1000 parts")
        if isinstance(item, tuple):
            pending.extend(item)
        elif item.__class__.__hash__ is None:
            raise UnpicklingError(f"unhashable type: '{type(item).__name__}'")


DEFAULT: dict[str, Any] = {
    **{f"{module}.{name}": thing for (module, name), thing in FIXED.items()},
    "torch._tensor._rebuild_from_type_v2": rebuild_from_type_v2,
    "torch.serialization._get_layout": get_layout,
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "_codecs.encode": encode,
    "builtins.bytearray": bytearray,
    "builtins.set": set,
    "builtins.complex": complex,
}

# What REDUCE may call, by identity, and how: nothing else of the table is called.
CALLS: dict[int, Callable] = {
    **{id(function): function for function in (*TENSORS, rebuild_from_type_v2, get_layout)},
    id(Size): Size,
    id(Device): Device,
    id(encode): _latin1,
    id(bytearray): _bytearray,
    id(complex): _complex,
    **{id(make): _listed(make) for make in (set, OrderedDict, Counter)},
}

_added: set[Any] = set()


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Allows classes and functions to files that are loaded with weights_only=True from here on.

    safe_globals: each a class or function, or a pair of one and its full path in the file.
    """
    _added.update(safe_globals)


def get_safe_globals() -> list[Any]:
    """What a program has allowed."""
    return list(_added)


def clear_safe_globals() -> None:
    """Allows nothing any more but what is allowed by default."""
    _added.clear()


class safe_globals:
    """Allows classes and functions inside of a `with` block."""

    def __init__(self, safe_globals: list[Any]):
        self.safe_globals = safe_globals

    def __enter__(self) -> None:
        add_safe_globals(self.safe_globals)

    def __exit__(self, *raised: object) -> None:
        _added.difference_update(self.safe_globals)


def added() -> dict[str, Any]:
    """What a program has allowed, by the path it has in files.

    Errors: ValueError and TypeError for a pair that is none.
    """
    return dict(_named(thing) for thing in _added)


def _named(thing: Any) -> tuple[str, Any]:
    if not isinstance(thing, tuple):
        return ".".join(name_of(thing) or (thing.__module__, thing.__qualname__)), thing
    if len(thing) != 2:
        raise ValueError(
            "Expected tuple of length 2 (global, str of callable full path), but got tuple of "
            f"length: {len(thing)}"
        )
    if type(thing[1]) is not str:
        raise TypeError(
            "Expected second item in tuple to be str of callable full path, but got: "
            f"{type(thing[1])}"
        )
    return thing[1], thing[0]


def paths() -> Iterator[str]:
    """Every path that is allowed now."""
    yield from DEFAULT
    yield from added()
