"""The pages for newcomers are true: the README's program, its output, and every link."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/state.md")
BLOCK = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
NAMED = re.compile(
    r"`((?:ir|codegen|runtime|lazyt|tests|docs|examples|benchmarks)/[\w/.*]*\w)((?:: [\w, ]+)?)"
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def test_the_program_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The numbers, the optimized IR and the code of the plan, to the letter."""
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    program = next(b for b in blocks if b.startswith("import lazyt as torch"))
    graph = next(b for b in blocks if b.startswith("graph("))
    source = next(b for b in blocks if b.startswith("def run("))
    (tmp_path / "readme.py").write_text(program)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LAZYT_")}
    environment |= {"LAZYT_DUMP": "dump", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "readme.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    (numbers,) = re.findall(r"# (\[[\d., ]+\])", program)
    assert done.stdout.startswith(numbers + "\n")
    assert graph in done.stdout
    (plan,) = tmp_path.glob("dump/*/plan.py")
    assert plan.read_text().endswith(source)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = LINK.findall(path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES[1:])
def test_files_and_names_are_there(page: str) -> None:
    """What looks like a path of this repository is one, and in `path: name` the file has it."""
    named = NAMED.findall((ROOT / page).read_text())
    assert named
    missing = [path for path, _ in named if not any(ROOT.glob(path))]
    assert missing == []
    told = [(path, name) for path, names in named for name in re.findall(r"\w+", names)]
    assert [(p, n) for p, n in told if n not in (ROOT / p).read_text()] == []
