"""What is said of a name that is not here.

    torch.nn.CTCLoss          AttributeError: PyTorch has torch.nn.CTCLoss, lazyt does not yet; the
                              nearest there is: torch.nn.BCELoss        (in one line)
    torch.nn.Liner            module 'torch.nn' has no attribute 'Liner'. Did you mean: 'Linear'?
    torch.nn.nonsense         module 'torch.nn' has no attribute 'nonsense'

Modules say so through `__getattr__`, classes through attributes that raise. Looking for the nearest
name costs milliseconds, so it is done where the message is read: `hasattr` stays fast.
"""

from __future__ import annotations

import opcode
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_IMPORT_FROM = opcode.opmap["IMPORT_FROM"]


def torch_name(module: str) -> str:
    """A module of lazyt under PyTorch's name."""
    return "torch" + module.removeprefix("lazyt")


def nearest(owner: str, name: str) -> str | None:
    """The name here that is most like one that is missing; `owner` is a module or class of
    PyTorch."""
    import difflib

    from lazyt.coverage.names import ABSENT, found, owners

    here = [n for n in owners().get(owner, ()) if n != name and found(f"{owner}.{n}") is not ABSENT]
    lower = {n.lower(): n for n in here}
    matches = difflib.get_close_matches(name.lower(), list(lower), 1, 0.7)
    return f"{owner}.{lower[matches[0]]}" if matches else None


def _similarity(a: str, b: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio()


def explained(owner: str, name: str, usual: str) -> str:
    """What is said of a name that a module or class lacks; `usual` is PyTorch's own text."""
    from lazyt.coverage.names import known

    near = nearest(owner, name)
    if known(f"{owner}.{name}"):
        text = f"PyTorch has {owner}.{name}, lazyt does not yet"
        return f"{text}; the nearest there is: {near}" if near else text
    if near is not None:
        short = near.rpartition(".")[2]
        if _similarity(short, name) >= 0.74:
            return f"{usual}. Did you mean: '{short}'?"
    return usual


class _Late(Exception):
    """A mixin of errors whose text is made when it is read."""

    def __init__(self, owner: str, name: str, usual: str):
        super().__init__(usual)
        self._missing = owner, name, usual
        self.name = name

    def __str__(self) -> str:
        return explained(*self._missing)


# They go by the names of the errors they are, in tracebacks and for whoever asks.
_PLAIN = {"__module__": "builtins"}
MissingAttribute: Any = type("AttributeError", (_Late, AttributeError), dict(_PLAIN))
MissingImport: Any = type("ImportError", (_Late, ImportError), dict(_PLAIN))


def missing(module: str, name: str) -> Exception:
    """The error for `name`, which a module of lazyt lacks, to be raised by its `__getattr__`."""
    owner = torch_name(module)
    usual = f"module '{owner}' has no attribute '{name}'"
    frame = sys._getframe(2)
    code = frame.f_code.co_code
    if not name.startswith("__") and code[frame.f_lasti] == _IMPORT_FROM:
        return MissingImport(owner, name, f"cannot import name '{name}' from '{owner}'")
    return MissingAttribute(owner, name, usual)


def getattr_of(module: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module that has nothing else to say."""

    def __getattr__(name: str) -> NoReturn:
        raise missing(module, name)

    return __getattr__


class _Absent:
    """Stands in a class for an attribute that PyTorch has and lazyt does not."""

    def __init__(self, owner: str):
        self.owner = owner

    def __set_name__(self, cls: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, cls: type | None = None) -> NoReturn:
        kind = "object" if instance is not None else "type object"
        title = self.owner.rpartition(".")[2]
        usual = f"'{title}' object has no attribute '{self.name}'"
        if kind == "type object":
            usual = f"type object '{title}' has no attribute '{self.name}'"
        raise MissingAttribute(self.owner, self.name, usual)


def announce(cls: type, owner: str) -> None:
    """Gives a class an attribute that says so for every name of PyTorch's that it lacks.

    They cost nothing: attributes that are there are found as before, which a `__getattr__` of the
    class would slow down.
    """
    from lazyt.coverage.names import owners

    for name in owners()[owner]:
        if not hasattr(cls, name):
            absent = _Absent(owner)
            absent.name = name
            setattr(cls, name, absent)
