"""Run a program that says `import torch` on the implementation under test.

Tests hold whole programs as text, written for PyTorch. This module runs such a program in this
process with the name `torch` standing for lazyt (or for PyTorch itself, to check the harness and to
record what PyTorch does), and returns what it printed:

    run_program("import torch\\nprint(torch.ones(2) + 1)")    # 'tensor([2., 2.])\\n'

Which implementation that is says the environment variable LAZYT_TEST_IMPLEMENTATION or pytest's
option --implementation; by default it is lazyt.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import linecache
import os
import random
import signal
import sys
import threading
import types
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"
PROGRAMS = Path(__file__).parent / "programs"


class TimeLimit(BaseException):
    """A program ran longer than it may; no `except Exception` of the program stops it."""


def implementation() -> str:
    """Name of the module that programs get when they import torch: "lazyt" or "torch"."""
    return os.environ.get("LAZYT_TEST_IMPLEMENTATION", "lazyt")


def have_oracle() -> bool:
    """Whether PyTorch is installed; does not import it."""
    return importlib.util.find_spec("torch") is not None


def load(name: str | None = None) -> types.ModuleType:
    """The implementation's top module, imported under its own name."""
    module = importlib.import_module(name or implementation())
    if module.__name__ == "torch":
        module.set_num_threads(1)  # the tensors here are small, and results repeat
    return module


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torch` and `torch.x.y` as the modules `target` and `target.x.y` themselves."""

    def __init__(self, target: str) -> None:
        self.target = target

    def _real(self, name: str) -> str:
        return self.target + name.removeprefix("torch")

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torch" and not fullname.startswith("torch."):
            return None
        try:
            found = importlib.util.find_spec(self._real(fullname))
        except ModuleNotFoundError:
            return None
        return found and importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        # The import system hands out what stands in sys.modules, so the real module keeps its
        # own name, loader and spec.
        name = module.__name__
        sys.modules[name] = importlib.import_module(self._real(name))


def _torch_modules() -> list[str]:
    return [name for name in sys.modules if name == "torch" or name.startswith("torch.")]


@contextlib.contextmanager
def as_torch(name: str | None = None) -> Iterator[types.ModuleType]:
    """While open, `import torch` and `import torch.x` give the modules of `name`.

    PyTorch, if it was imported before, is put back afterwards.
    """
    target = name or implementation()
    module = load(target)
    if target == "torch":
        yield module
        return
    hidden = {key: sys.modules.pop(key) for key in _torch_modules()}
    finder = _Alias(target)
    sys.meta_path.insert(0, finder)
    try:
        yield module
    finally:
        sys.meta_path.remove(finder)
        for key in _torch_modules():
            del sys.modules[key]
        sys.modules.update(hidden)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeLimit in the block after so many seconds (main thread of a POSIX system only)."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def expire(*_: Any) -> None:
        raise TimeLimit(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fresh_state(torch: types.ModuleType) -> None:
    """Put an implementation's global state (seed, grad mode, print options) where it starts."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.set_printoptions(profile="default")


@contextlib.contextmanager
def _as_main() -> Iterator[dict[str, Any]]:
    """A fresh `__main__`, so that classes a program defines can be pickled; yields its names."""
    before = sys.modules["__main__"]
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    try:
        yield main.__dict__
    finally:
        sys.modules["__main__"] = before


def run_program(
    text: str, filename: str = "<program>", *, name: str | None = None, seconds: float = 60.0
) -> str:
    """Run a program's text as `__main__` with `torch` meaning `name`; return what it printed.

    Args:
        text: the program.
        filename: what tracebacks and the library's own messages call the program.
        name: implementation, by default the one under test.
        seconds: the program's time limit.

    Raises whatever the program raises, or TimeLimit.
    """
    code = compile(text, filename, "exec")
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    printed = io.StringIO()
    with as_torch(name) as torch, _as_main() as names, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fresh_state(torch)
        recursion = sys.getrecursionlimit()
        try:
            with contextlib.redirect_stdout(printed), time_limit(seconds):
                exec(code, names)
        finally:
            sys.setrecursionlimit(recursion)
            torch.set_grad_enabled(True)
    return printed.getvalue()


def read_cases(path: Path) -> dict[str, tuple[str, str]]:
    """Programs of a case file: "group/name" -> (note, text).

    The file is plain text. `## group` starts a group, `== name` or `== name: note` a program;
    what follows, up to the next header, is its text. Lines starting with `#:` are comments.
    """
    cases: dict[str, tuple[str, str]] = {}
    group = name = note = ""
    lines: list[str] = []

    def close() -> None:
        if name:
            key = f"{group}/{name}"
            assert key not in cases, f"{path.name}: {key} stands twice"
            cases[key] = (note, "\n".join(lines).strip() + "\n")

    for line in path.read_text().splitlines():
        if line.startswith(("## ", "== ")):
            close()
            name, lines = "", []
            if line.startswith("## "):
                group = line[3:].strip()
            else:
                name, _, note = (part.strip() for part in line[3:].partition(":"))
        elif not line.startswith("#:"):
            lines.append(line)
    close()
    return cases


def read_not_yet(path: Path) -> dict[str, str]:
    """Expected failures of a list, one `case: reason` a line: case -> what it needs."""
    rows = (line.partition(":") for line in path.read_text().splitlines())
    return {name.strip(): why.strip() for name, _, why in rows if name and name[0] != "#"}


def marked(cases: Iterable[str], not_yet: dict[str, str]) -> list[Any]:
    """pytest parameters of the cases; those of the list must fail, unless PyTorch itself runs."""
    assert not set(not_yet) - set(cases), "the list names a case that does not exist"
    assert all(not_yet.values()), "each line of the list says what is missing"
    lists = {} if implementation() == "torch" else not_yet
    return [
        pytest.param(case, id=case, marks=pytest.mark.xfail(strict=True, reason=lists[case]))
        if case in lists
        else pytest.param(case, id=case)
        for case in cases
    ]
