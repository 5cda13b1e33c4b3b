"""A sampler of one process's share, where several train together.

DistributedSampler(dataset, num_replicas=2, rank=0, shuffle=False)  # 0, 2, 4, …
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lazyt
from lazyt.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th index, from the `rank`-th on, in an order that all ranks share.

    Args:
        num_replicas, rank: how many processes there are, and which of them this is.
        shuffle: a new order for each epoch that `set_epoch` names.
        seed: of the order, the same in all processes.
        drop_last: leave out what does not fill all shares; else some indices come twice.

    Raises:
        RuntimeError: they are not given: there is no distributed package to ask.
        ValueError: a rank that is none of them.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError("Requires distributed package to be available")
        if rank >= num_replicas or rank < 0:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        rounding = 0 if drop_last else num_replicas - 1
        self.num_samples = (len(dataset) + rounding) // num_replicas
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        if self.shuffle:
            generator = lazyt.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = lazyt.randperm(size, generator=generator).tolist()
        else:
            order = list(range(size))
        filled = [order[i % size] for i in range(self.total_size)]
        return iter(filled[self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is: its order depends on it."""
        self.epoch = epoch
