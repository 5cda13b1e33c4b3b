"""The public names of PyTorch, as recorded, and what each of them is here.

    state_of("torch.nn.CTCLoss")       # State("missing", "")
    state_of("torch.optim.Adam")       # State("differs", "foreach, fused: accepted; …")

A name is here where lazyt has it. It differs where its docstring says that something is accepted
(and changes nothing), or where `differences.txt` says how.
"""

from __future__ import annotations

import importlib
import os.path
import re
from functools import cache
from typing import Any, NamedTuple

_ACCEPTED = re.compile(r"[^.;]*\baccepted\b[^.;]*", re.IGNORECASE)
ABSENT = object()


class State(NamedTuple):
    """What a name of PyTorch is here: "works", "differs" or "missing", and how it differs."""

    word: str
    how: str


def _recorded(file: str) -> str:
    # Without pathlib, which nothing else needs that `import lazyt` brings.
    with open(os.path.join(os.path.dirname(__file__), file), encoding="utf-8") as text:
        return text.read()


@cache
def owners() -> dict[str, tuple[str, ...]]:
    """Every module and class of PyTorch that is recorded, with its public names."""
    found: dict[str, tuple[str, ...]] = {}
    for block in _recorded("names.txt").split("\n[")[1:]:
        owner, *names = block.split()
        found[owner.rstrip("]")] = tuple(names)
    return found


@cache
def public_names() -> frozenset[str]:
    """Every recorded name in full: "torch.nn.Linear"."""
    return frozenset(f"{owner}.{name}" for owner, names in owners().items() for name in names)


def known(path: str) -> bool:
    """Whether PyTorch has a name, as far as names are recorded."""
    return path in owners() or path in public_names()


@cache
def differences() -> dict[str, str]:
    """How names differ that have no docstring to say so."""
    lines = _recorded("differences.txt").splitlines()
    pairs = (line.partition(": ") for line in lines if line and not line.startswith("#"))
    return {name: how for name, _, how in pairs}


def found(path: str) -> Any:
    """What a name of PyTorch stands for here; ABSENT where it stands for nothing."""
    head, *rest = path.split(".")
    assert head == "torch", path
    value: Any = importlib.import_module("lazyt")
    module = "lazyt"
    for name in rest:
        below = getattr(value, name, ABSENT)
        if below is ABSENT:
            # A function may go by the name of its module (gradcheck), and modules be yet unnamed.
            below = getattr(_module(module), name, ABSENT)
        module = f"{module}.{name}"
        if below is ABSENT:
            below = _module(module) or ABSENT
        if below is ABSENT and isinstance(value, type) and name in _annotated(value):
            below = None  # an attribute of its instances
        if below is ABSENT:
            return ABSENT
        value = below
    return value


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _annotated(cls: type) -> set[str]:
    return {name for base in cls.__mro__ for name in base.__dict__.get("__annotations__", ())}


def state_of(path: str) -> State:
    """What a name of PyTorch is here."""
    value = found(path)
    if value is ABSENT:
        return State("missing", "")
    how = differences().get(path) or _accepted(value)
    return State("differs", how) if how else State("works", "")


def _accepted(value: Any) -> str:
    """The sentences of a docstring that say what is accepted and changes nothing."""
    home = getattr(value, "__module__", None) or ""
    text = value.__dict__.get("__doc__") if isinstance(value, type) else value.__doc__
    if not str(home).startswith("lazyt") or not isinstance(text, str):
        return ""
    sentences = _ACCEPTED.findall(" ".join(text.split()))
    return "; ".join(s.strip() for s in sentences)
