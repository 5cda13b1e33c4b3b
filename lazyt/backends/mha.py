"""torch.backends.mha: whether attention in inference gives what PyTorch's kernels for it give.

    torch.backends.mha.set_fastpath_enabled(False)      # padded steps of encoders are computed too

Those kernels leave out what is padded: nn.TransformerEncoder gives zeros there.
"""

from __future__ import annotations

_FASTPATH = [True]


def get_fastpath_enabled() -> bool:
    """Whether it does; at first it does."""
    return _FASTPATH[0]


def set_fastpath_enabled(value: bool) -> None:
    """Sets whether it does."""
    _FASTPATH[0] = value
