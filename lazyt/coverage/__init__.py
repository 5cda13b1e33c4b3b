"""What of PyTorch is here: for every name, for a program before it is run, and as a page.

    python -m lazyt.coverage train.py       # what the program needs and lacks, with line numbers
    python -m lazyt.coverage --page docs/pytorch_names.md

    from lazyt.coverage import state_of
    state_of("torch.nn.Linear").word        # "works"

The names are those of a recorded list; nothing of PyTorch is imported.
"""

from .names import State, owners, public_names, state_of
from .page import page
from .program import Need, needs_of

__all__ = ["Need", "State", "needs_of", "owners", "page", "public_names", "state_of"]
