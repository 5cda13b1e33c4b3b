"""lazyt: a static-graph tensor compiler with a lazy frontend that speaks PyTorch.

    import lazyt as torch
"""

from __future__ import annotations

import os as _os

from lazyt.ir.node import mark_internal as _mark_internal

_here = _os.path.dirname(_os.path.abspath(__file__))
_mark_internal(_here)

from lazyt import autograd as autograd  # noqa: E402
from lazyt.creation import PUBLIC as _CREATION  # noqa: E402
from lazyt.pointwise import FUNCTIONS as _POINTWISE  # noqa: E402
from lazyt import views as _views  # noqa: E402, F401
from lazyt.tensor import Tensor as Tensor  # noqa: E402

globals().update(_CREATION)
globals().update(_POINTWISE)
