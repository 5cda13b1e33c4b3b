"""Adaptive softmax: many classes, of which few are frequent (Grave et al. 2017).

The head scores the frequent classes and one number a cluster of rare ones; a cluster's own scores
come from a smaller projection, and only examples of its classes pass through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import lazyt
from lazyt.nn import functional as F
from lazyt.nn.containers import ModuleList, Sequential
from lazyt.nn.module import Module
from lazyt.tensor import Tensor

from .linear import Linear


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


_CUTOFFS = (
    "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
    "where each value is between 1 and n_classes-1"
)


class AdaptiveLogSoftmaxWithLoss(Module):
    """The log-probability of each example's class, and the mean loss.

    cutoffs: the first class of every cluster, frequent classes first. div_value: how much narrower
    each cluster's projection is than the one before. Targets are read.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if len(bounds) == 0:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        unique = bounds == sorted(set(bounds)) and all(int(c) == c for c in bounds)
        if not unique or min(bounds) <= 0 or max(bounds) > n_classes - 1:
            raise ValueError(_CUTOFFS)
        options = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i, (first, stop) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            narrow = int(in_features // div_value ** (i + 1))
            inner = Linear(in_features, narrow, bias=False, **options)
            outer = Linear(narrow, stop - first, bias=False, **options)
            self.tail.append(Sequential(inner, outer))

    def reset_parameters(self) -> None:
        """Draws new initial values."""
        self.head.reset_parameters()
        for projection in self.tail:
            for layer in projection.children():
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        self._check(input_, target_)
        batched = target_.dim() > 0
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)
        output = input.new_zeros(target.size(0))
        columns, used = target.clone(), 0
        for i, (low, high) in enumerate(zip([0, *self.cutoffs], self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            used += rows.numel()
            if i == 0 or rows.numel() == 0:
                continue
            own = (target.index_select(0, rows) - low).unsqueeze(1)
            scores = F.log_softmax(self.tail[i - 1](input.index_select(0, rows)), dim=1)
            columns = columns.index_fill(0, rows, self.shortlist_size + i - 1)
            output = output.index_copy(0, rows, scores.gather(1, own).squeeze(1))
        if used != target.size(0):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        output = output + head.gather(1, columns.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _check(self, input: Tensor, target: Tensor) -> None:
        rank = target.dim()
        if rank > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if rank == 1 and input.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.dim() != rank + 1:
            raise RuntimeError(
                f"{rank}D target tensor expects {rank + 1}D input tensors, but found inputs with "
                f"size {input.size()}"
            )

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            share = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(tail(input), dim=1) + share)
        return lazyt.cat(parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each example; clusters are scored where one leads only."""
        head = self.head(input)
        output = lazyt.argmax(head, dim=1)
        rare = output >= self.shortlist_size
        if not rare.any():
            return output
        scores = self._get_full_log_prob(input[rare], head[rare])
        output[rare] = lazyt.argmax(scores, dim=1)
        return output
