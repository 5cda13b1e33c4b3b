"""torch.version: what this library is built with: no CUDA of its own, as PyTorch for the CPU.

print(torch.version.cuda)    # None
"""

from __future__ import annotations

from lazyt import __version__ as __version__

cuda = hip = xpu = git_version = None
debug = False
