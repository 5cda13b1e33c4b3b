"""torch.special: functions of mathematics, which the top module has too.

torch.special.expit(x)        # torch.sigmoid(x)
"""

from __future__ import annotations

from lazyt.missing import getattr_of

from .registry import FUNCTIONS

_SAME = "erf erfc erfinv exp2 expm1 log1p log_softmax logsumexp round softmax"

globals().update({name: FUNCTIONS[name] for name in _SAME.split()})
expit = FUNCTIONS["sigmoid"]

__getattr__ = getattr_of(__name__)
