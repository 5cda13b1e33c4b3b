"""Fetching: from the indices of a batch to the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazyt
from lazyt.tensor import Tensor
from lazyt.utils.data.collate import default_collate
from lazyt.utils.data.dataset import IterableDataset, Subset, TensorDataset

Fetch = Callable[[Any], Any]


def make_fetch(
    dataset: Any, batched: bool, collate: Callable[[Any], Any], drop_last: bool
) -> Fetch:
    """The function that makes a batch of a list of indices or, without batching, a sample of one
    index. Over an iterable data set only the number of indices counts, and it raises
    StopIteration at the end."""
    if isinstance(dataset, IterableDataset):
        return _stream_fetch(dataset, batched, collate, drop_last)
    if not batched:
        return lambda index: collate(dataset[index])

    def fetch(indices: Any) -> Any:
        if getattr(dataset, "__getitems__", None):
            return collate(dataset.__getitems__(indices))
        return collate([dataset[i] for i in indices])

    return _RowBatches(dataset, fetch) if rows_only(dataset, collate) else fetch


def _stream_fetch(
    dataset: Any, batched: bool, collate: Callable[[Any], Any], drop_last: bool
) -> Fetch:
    samples = iter(dataset)
    ended = False

    def fetch(indices: Any) -> Any:
        nonlocal ended
        if ended:
            raise StopIteration
        if not batched:
            return collate(next(samples))
        batch = []
        for _ in indices:
            try:
                batch.append(next(samples))
            except StopIteration:
                ended = True
                break
        if not batch or (drop_last and len(batch) < len(indices)):
            raise StopIteration
        return collate(batch)

    return fetch


def rows_only(dataset: Any, collate: Callable[[Any], Any]) -> bool:
    """Whether a batch is the same rows of some tensors: nothing a user wrote runs in between."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) in (TensorDataset, Tensor) and collate is default_collate


class _RowBatches:
    """Takes all rows of a batch by one indexing, where the result cannot be told from rows taken
    singly and stacked; else as `singly` does."""

    def __init__(self, dataset: Any, singly: Fetch) -> None:
        self.dataset, self.singly = dataset, singly

    def __call__(self, indices: Any) -> Any:
        dataset, rows = self.dataset, indices
        while type(dataset) is Subset:
            inner = dataset.indices
            rows = [inner[i] for i in rows]
            dataset = dataset.dataset
        single = type(dataset) is Tensor
        tensors = (dataset,) if single else dataset.tensors
        # Only plain numbers, in range: what else an index may mean is for the tensor to say.
        if set(map(type, rows)) != {int} or min(rows) < 0:
            return self.singly(indices)
        first, last = min(rows), max(rows)
        for tensor in tensors:
            if (
                type(tensor) is not Tensor
                or tensor.requires_grad
                or tensor.dim() == 0
                or tensor.shape[0] <= last
                or not tensor.is_contiguous()
            ):
                return self.singly(indices)
        if rows == list(range(first, first + len(rows))):
            # A slice starts at a run-time number: batches in order share one plan.
            batch = [tensor[first : last + 1].clone() for tensor in tensors]
        else:
            index = lazyt.tensor(rows)
            batch = [tensor[index] for tensor in tensors]
        return batch[0] if single else batch
