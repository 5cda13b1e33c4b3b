"""Options, fixtures and profiles that all tests share."""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from c_tier import c_tier, folder, plans  # noqa: F401 (fixtures)
from harness import fresh_state, have_oracle, implementation, load
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("search", deadline=None)  # other examples each time
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden")
    parser.addoption(
        "--skipped-before",
        action="store_true",
        help="only what the last run without this option skipped, and now may have what it needs",
    )
    parser.addoption(
        "--implementation",
        choices=("lazyt", "torch"),
        help="what programs get when they import torch (default: lazyt)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs an NVIDIA GPU; skipped where there is none")
    chosen = config.getoption("--implementation")
    if chosen:
        os.environ["LAZYT_TEST_IMPLEMENTATION"] = chosen


SKIPPED: list[str] = []
CACHED = "lazyt/skipped"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        SKIPPED.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "cache") and not config.getoption("--skipped-before"):
        config.cache.set(CACHED, SKIPPED)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --skipped-before, where there was a run before: the tests that it skipped."""
    if not hasattr(config, "cache") or not config.getoption("--skipped-before"):
        return
    before = config.cache.get(CACHED, None)
    if before is None:
        return
    chosen = set(before)
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid not in chosen])
    items[:] = [i for i in items if i.nodeid in chosen]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not load().cuda.is_available():
        pytest.skip("no CUDA device here")


@pytest.fixture(autouse=True)
def _fresh_state() -> Iterator[None]:
    """Every test starts from seed 0, with gradients on and nothing pending, and leaves the scans of
    drains as they were: a plan of the C tier exchanges them for the whole process.

    A test of the lower folders need not import the frontend, and nothing is reset then.
    """
    module = sys.modules.get(implementation())
    if module is not None and hasattr(module, "manual_seed"):
        fresh_state(module)
    nodes = sys.modules.get("lazyt.ir.node")
    if nodes:
        nodes.LOCAL.trace.clear()
    scans = sys.modules.get("lazyt.runtime.scans")
    in_use = scans and scans.SCANS[0]
    yield
    if scans:
        scans.SCANS[0] = in_use


@pytest.fixture(scope="session")
def oracle() -> types.ModuleType:
    """PyTorch itself; the test is skipped where it is not installed."""
    if not have_oracle():
        pytest.skip("needs PyTorch as oracle: pip install lazyt[oracle]")
    return load("torch")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compare a text with the file kept for this test.

    The file is tests/golden/<test module>/<test name>.txt. A missing file fails; with
    --update-golden the file is written instead, for the diff to be read before it is committed.
    """
    module = Path(request.node.path).stem
    name = re.sub(r"[^\w.=+-]+", "_", request.node.name).strip("_")
    path = Path(__file__).parent / "golden" / module / f"{name}.txt"
    used = False

    def check(text: str) -> None:
        nonlocal used
        assert not used, "one golden text a test"
        used = True
        text = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists():
            pytest.fail(f"no {path.name} in tests/golden/{module}: run pytest --update-golden")
        else:
            assert text == path.read_text(), "differs from its golden file (--update-golden)"

    return check
