"""The few names of PyTorch's extension module that programs use.

except torch._C._LinAlgError: ...
"""

from __future__ import annotations

from lazyt.ir.numerics.matmul import _LinAlgError as _LinAlgError
