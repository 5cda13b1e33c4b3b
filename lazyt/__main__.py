"""`python -m lazyt script.py args…`: runs a script that says `import torch`, unchanged, on lazyt.

For the length of the run `torch` and everything below it (`torch.nn.functional`, …) resolve to
lazyt's own
modules: one object each, so `import torch` and `import lazyt` see the same classes.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from lazyt.spawned import children_too
from lazyt.torch_names import torch_is_lazyt


def run_script(path: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Runs a script as `__main__` with torch resolved to lazyt; returns its globals."""
    argv, first = sys.argv, sys.path[0] if sys.path else ""
    sys.argv = [path, *arguments]
    folder = os.path.dirname(os.path.abspath(path))
    if sys.path:
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    try:
        with torch_is_lazyt(), children_too():
            # Absolute, as Python has it: programs that change folders look beside it for files.
            return runpy.run_path(os.path.abspath(path), run_name="__main__")
    finally:
        sys.argv = argv
        sys.path[0] = first


USAGE = """usage: python -m lazyt script.py [arguments ...]
       python -m lazyt -m module [arguments ...]

Runs a PyTorch script on lazyt, unchanged."""


def main(arguments: Sequence[str]) -> int:
    """Runs a script under the name torch; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "-m":
        if len(arguments) < 2:
            print(USAGE)
            return 2
        sys.argv = list(arguments[1:])
        with torch_is_lazyt():
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    if not os.path.exists(arguments[0]):
        print(f"python -m lazyt: cannot open {arguments[0]!r}", file=sys.stderr)
        return 2
    run_script(arguments[0], arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
