"""What tests of the C tier share: a cache of kernels, and programs that run in it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lazyt.runtime import drain, native, plan
from lazyt.runtime.plan import Plan

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C compiler here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of a file share."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def c_tier(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Every program runs in the C tier, from its first run on."""
    monkeypatch.setenv("LAZYT_CPU", "c")
    monkeypatch.setenv("LAZYT_CACHE", str(folder))
    monkeypatch.setattr(drain, "PLAN_FIRST", [True])
    monkeypatch.setattr(native, "GIVEN_UP", [])
    drain.CACHE.clear()
    yield
    drain.CACHE.clear()


@pytest.fixture
def plans(c_tier: None) -> Iterator[list[Plan]]:
    """The plans that were made, oldest first."""
    made: list[Plan] = []
    plan.ON_COMPILE.append(made.append)
    yield made
    plan.ON_COMPILE.remove(made.append)
