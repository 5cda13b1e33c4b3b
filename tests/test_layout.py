"""What the layout forbids: imports against the direction lazyt → runtime → codegen → ir.

    ir        imports nothing of lazyt but itself
    codegen   may import ir
    runtime   may import ir and codegen
    lazyt     may import all of them

The three lower folders are imported as lazyt.ir, lazyt.codegen and lazyt.runtime, never by their
folders' names. Importing lazyt is light: what is heavy or optional is imported where it is used.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOWER = {"ir": {"ir"}, "codegen": {"codegen", "ir"}, "runtime": {"runtime", "codegen", "ir"}}
HEAVY = ("networkx", "torch", "scipy", "pycuda", "matplotlib", "sklearn", "tqdm", "hypothesis")
SOURCES = [p for folder in (*LOWER, "lazyt") for p in sorted((ROOT / folder).rglob("*.py"))]


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Every module a source imports, anywhere in it: (line, absolute name).

    `package` is the package the source is in, for relative imports. `from a import b` gives `a.b`,
    because b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                kept = parents[: len(parents) - node.level + 1]
                base = ".".join([*kept, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = name or (node.func.id if isinstance(node.func, ast.Name) else None)
            if name in ("import_module", "__import__") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.lineno, first.value


def package_of(path: Path) -> str:
    """The package a file of the repository is in, as it is imported."""
    folder, *inner = path.relative_to(ROOT).parent.parts
    return ".".join(["lazyt" if folder == "lazyt" else f"lazyt.{folder}", *inner])


def violations(source: str, folder: str, package: str) -> list[str]:
    """What an import of a source in `folder` may not do."""
    found = []
    for line, name in imports(source, package):
        top, _, rest = name.partition(".")
        if top in LOWER:
            found.append(f"line {line}: `{name}` is imported as lazyt.{name}")
        elif top == "torch":
            found.append(f"line {line}: PyTorch is an oracle for tests only")
        elif folder in LOWER and top == "lazyt" and rest.partition(".")[0] not in LOWER[folder]:
            found.append(f"line {line}: {folder} may not import {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    assert not violations(path.read_text(), folder, package_of(path))


@pytest.mark.parametrize("folder", [*LOWER, "lazyt"])
def test_folders_are_there(folder: str) -> None:
    assert any(p.relative_to(ROOT).parts[0] == folder for p in SOURCES)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("ir", "import ir"),
        ("lazyt", "from ir.node import Node"),
        ("lazyt", "import codegen.loops as loops"),
        ("runtime", "def f():\n    from codegen import loops"),
        ("ir", "from lazyt.codegen import loops"),
        ("ir", "from lazyt import runtime"),
        ("ir", "import lazyt"),
        ("ir", "from ..runtime import plan"),
        ("codegen", "from lazyt.runtime.plan import Plan"),
        ("codegen", "import lazyt.tensor"),
        ("runtime", "from lazyt.tensor import Tensor"),
        ("runtime", "from lazyt import Tensor"),
        ("runtime", "importlib.import_module('lazyt.nn')"),
        ("lazyt", "import torch"),
    ],
)
def test_a_forbidden_import_is_seen(folder: str, source: str) -> None:
    package = "lazyt" if folder == "lazyt" else f"lazyt.{folder}"
    assert violations(source, folder, package)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("ir", "from lazyt.ir.node import Node"),
        ("ir", "from .node import Node"),
        ("ir", "from lazyt.ir import node\nimport numpy as np"),
        ("codegen", "import lazyt.ir.node"),
        ("runtime", "from lazyt.codegen import numpy_calls"),
        ("runtime", "from lazyt import codegen, ir"),
        ("lazyt", "from lazyt.runtime.plan import Plan\nimport networkx"),
    ],
)
def test_an_allowed_import_passes(folder: str, source: str) -> None:
    package = "lazyt" if folder == "lazyt" else f"lazyt.{folder}"
    assert not violations(source, folder, package)


def test_import_is_light() -> None:
    """`import lazyt` in a fresh process imports nothing heavy."""
    code = f"import lazyt, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"


def test_importing_lazyt_brings_its_core_alone() -> None:
    """Networks, code generators and the readers of programs come with their first use."""
    late = (
        "nn",
        "optim",
        "codegen.source",
        "ir.graph",
        "ir.passes.pipeline",
        "inspect.explanation",
    )
    late += ("coverage.program", "serialization", "amp", "func", "utils.data", "profiler", "cuda")
    code = f"""
import numpy, sys
before = set(sys.modules)
import lazyt
brought = set(sys.modules) - before
print([m for m in {late!r} if "lazyt." + m in brought])
print([m for m in ("ast", "difflib", "pathlib", "subprocess", "tempfile") if m in brought])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "[]\n[]\n", found.stderr


def test_what_is_there_is_installed() -> None:
    """Every package, and every file in one that is no Python, is in pyproject.toml."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = sorted({path.parent for path in SOURCES if path.name == "__init__.py"})
    named = {f: package_of(f / "__init__.py") for f in folders}
    assert sorted(setuptools["packages"]) == sorted(named.values())
    data = setuptools["package-data"]
    forgotten = []
    for folder in (*LOWER, "lazyt"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".pyc") or not path.is_file():
                continue
            owner = next(f for f in path.parents if f in named)
            patterns = data.get(named[owner], ())
            if not any(path.relative_to(owner).match(pattern) for pattern in patterns):
                forgotten.append(str(path.relative_to(ROOT)))
    assert forgotten == []
