"""`python -m lazyt.coverage SCRIPT.py…`: what programs need and lack, before they are run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lazyt.missing import nearest

from .page import page
from .program import Need, needs_of


def described(need: Need) -> str:
    """A line about what is missing or differs."""
    lines = ", ".join(map(str, sorted(need.lines)[:8])) + (", …" if len(need.lines) > 8 else "")
    what = need.name
    if need.kind == "package":
        what += ", a package of its own that is not part of PyTorch and not here"
    elif need.state.word == "differs":
        what += f" differs: {need.state.how}"
    else:
        what += " is missing"
        if need.state.how:
            what += f" ({need.state.how})"
        path = need.name if need.kind == "name" else f"torch.{need.name}"
        near = nearest(*path.rpartition(".")[::2])
        if near:
            what += f"; the nearest there is: {near}"
        if need.kind == "method":
            what += " (if it is called on one)"
    return f"  line {lines}: {what}"


def report(path: Path) -> tuple[str, bool]:
    """The report on one program, and whether anything is missing."""
    needs = needs_of(path.read_text(), str(path))
    missing = [n for n in needs if n.state.word == "missing"]
    differing = [n for n in needs if n.state.word == "differs"]
    head = f"{path}: {len(needs)} names of PyTorch and its companions, {len(missing)} missing"
    rows = sorted(missing, key=lambda n: n.lines[0]) + sorted(differing, key=lambda n: n.lines[0])
    return "\n".join([head, *map(described, rows)]), bool(missing)


def main(arguments: Sequence[str]) -> int:
    """0 where programs have all they need, 1 where something is missing, 2 for no program."""
    parser = argparse.ArgumentParser(prog="python -m lazyt.coverage", description=__doc__)
    parser.add_argument("scripts", nargs="*", type=Path, metavar="SCRIPT.py")
    parser.add_argument("--page", type=Path, help="write the page of all names there")
    given = parser.parse_args(arguments)
    if given.page is not None:
        given.page.write_text(page())
        return 0
    if not given.scripts:
        parser.print_usage()
        return 2
    lacking = False
    for path in given.scripts:
        try:
            text, missing = report(path)
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 2
        print(text)
        lacking = lacking or missing
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
