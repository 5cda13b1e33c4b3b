"""What of PyTorch is here: for every name, for a program before it is run, and as a page.

    python -m lazyt.coverage train.py       # what the program needs and lacks, with line numbers
    python -m lazyt.coverage --page docs/pytorch_names.md

    from lazyt.coverage import state_of
    state_of("torch.nn.Linear").word        # "works"

The names are those of a recorded list; nothing of PyTorch is imported.
"""

from __future__ import annotations

from typing import Any

from .names import State, owners, public_names, state_of

__all__ = ["Need", "State", "needs_of", "owners", "public_names", "state_of"]


def __getattr__(name: str) -> Any:
    # `import lazyt` reads the names; what reads programs waits until it is asked for.
    if name in ("Need", "needs_of"):
        from . import program

        return getattr(program, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
