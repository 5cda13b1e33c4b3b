"""Looking inside: what is compiled, what it costs and how often it ran.

    lazyt.explain(x), lazyt.explain(fn, *args)    IR, fusion, kernels and plan of a tensor or a call
    lazyt.stats(), lazyt.reset_stats()            counters of what the compiler did
    lazyt.dump(folder), LAZYT_DUMP=folder         every stage of every plan as files
    python -m lazyt.inspect script.py args...     a script, and where its time went

Only these functions are here, so that `import lazyt` pays nothing for them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lazyt.warned import warn

if TYPE_CHECKING:
    from .explanation import Explanation
    from .report import Stats

__all__ = ["dump", "explain", "reset_stats", "stats"]


def explain(x: Any, /, *args: Any, **kwargs: Any) -> Explanation:
    """Lays open what computes a tensor, or what a call of a function runs.

    x: a tensor. If it is pending, the explanation shows what would be run to compute it: its own
        part of the trace, compiled as it would be from the second time on. Nothing is run, and
        the trace, the counters and the random stream stay as they are. (A read computes
        everything that is wanted of the trace in one plan, so other operations may run with
        these; the note says how many there are.) Of a tensor that already has its value there is
        nothing to show: nodes drop their operands when they are computed, which is what keeps
        memory flat, and hold no link to the plan. The explanation says so and is empty.
    x: a callable (a function, a Module, a whole training step). What is pending is computed
        first; then `x(*args, **kwargs)` is called once, as usual, and what it leaves pending is
        computed at its end. Every program this thread ran for it is shown once, with how often it
        ran. The returned value is in `.result`.

    The explanation prints as text. Its `.ir` are the passes, each with `name`, `before` and
    `after`; `.groups` what was fused, with `.refusals` and their reasons; `.kernels` what it
    is computed by, the same in every tier: each with `name`, `source`, `shapes`, `flops`, `bytes`
    and the user's `lines`, and as `loops` (loop IR), `numpy`, `c` and `cuda`; `.pieces` the pieces
    of code that run, which are NumPy's calls where no compiler is asked for; `.plan` is a
    text on inputs, scalars, kept values, workspace, donation and live ranges, with the source.

    Raises TypeError for anything else, and what the call raises.
    """
    from . import explanation

    return explanation.explain(x, args, kwargs)


def stats() -> Stats:
    """What the compiler did since the start or the last `reset_stats()`: a dict that prints as a
    table.

    traced = nodes + dead: operations of drained programs, wanted or not; drains; evaluated, hits,
    misses: first sightings and plans; passes; kernels (in all, and a dict `by_op`);
    compiler_calls. Of now, not since a reset: pending (operations this thread has traced and not
    drained), programs, plans, bytes_held (their workspaces, code and keys).
    """
    from . import report

    return report.stats()


def reset_stats() -> None:
    """Sets the counters to zero; plans are kept."""
    from . import report

    report.reset_stats()


def dump(folder: str | os.PathLike | None) -> None:
    """Writes every stage of every plan made from now on into `folder`; None stops that.

    The environment variable LAZYT_DUMP does the same from the start. A plan is made when a program
    comes back, so what runs only once leaves no files. OSError where the folder cannot be made;
    what goes wrong later is one warning, and dumping stops.
    """
    from . import dumping

    dumping.dump(folder)


if os.environ.get("LAZYT_DUMP"):
    try:
        dump(os.environ["LAZYT_DUMP"])
    except OSError as error:
        warn(f"LAZYT_DUMP: nothing will be dumped: {error}")
