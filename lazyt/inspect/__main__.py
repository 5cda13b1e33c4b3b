"""`python -m lazyt.inspect script.py args...`: runs a script, reports what was compiled.

The script may say `import torch`. Afterwards a report is printed: per plan how often it ran and
how many of those were hits, its costliest calls with the user's lines, what was fused and what
was not and why. With LAZYT_DUMP=folder the plans are written too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

USAGE = """usage: python -m lazyt.inspect script.py [arguments ...]

Runs a PyTorch script on lazyt and reports its plans: runs, hits, kernels, time, refused fusions."""


def main(arguments: Sequence[str]) -> int:
    """Runs and reports; the exit status is the script's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if not os.path.exists(arguments[0]):
        print(f"python -m lazyt.inspect: cannot open {arguments[0]!r}", file=sys.stderr)
        return 2
    import lazyt  # noqa: F401  (the frontend sets up the runtime)
    from lazyt.__main__ import run_script
    from lazyt.runtime.drain import drain

    from .report import Recorder

    recorder = Recorder()
    try:
        with recorder.recording():
            run_script(arguments[0], arguments[1:])
            drain()
    finally:
        print(recorder.report())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
