"""torch.nn.parallel: DataParallel over the one device there is.

net = nn.DataParallel(net)        # the keys of its state dict begin with "module."
if ddp:                           # of a launcher with several processes, which there is not
    net = DistributedDataParallel(net)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lazyt.distributed import UNINITIALIZED
from lazyt.nn.module import Module

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]


def _check_devices(device_ids: Sequence[Any] | None) -> None:
    if device_ids is not None and len(device_ids) > 1:
        raise RuntimeError(
            "DataParallel over several devices is not there: give one device, or none. Got "
            f"device_ids={list(device_ids)}"
        )


class DataParallel(Module):
    """A module that calls another one, which is its `module`. RuntimeError for several devices."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        _check_devices(device_ids)
        self.module = module
        self.device_ids: list[Any] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """A module on several processes, which programs import, ask about with isinstance, and make
    where a launcher started them. ValueError, as in PyTorch: no process group was initialized."""

    def __init__(self, module: Module, *args: Any, **options: Any) -> None:
        super().__init__()
        raise ValueError(UNINITIALIZED)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: Any = None,
) -> Any:
    """module(*inputs, **module_kwargs), on the device where they are."""
    _check_devices(device_ids)
    given = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return module(*given, **(module_kwargs or {}))
