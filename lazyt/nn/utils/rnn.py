"""Sequences of several lengths: padded to one tensor, or packed without what pads.

    a, b = torch.tensor([1, 2, 3]), torch.tensor([4])
    pad_sequence([a, b])            # [[1, 4], [2, 0], [3, 0]]: a column each
    pack_sequence([a, b])           # data [1, 4, 2, 3], batch_sizes [2, 1, 1]: step after step

A packed sequence is what recurrent layers run over. It wants the longest sequence first;
`enforce_sorted=False` sorts, and remembers the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import lazyt
from lazyt.dispatch import coerce, number_of, renamed, scalar_name, tagged, wrap
from lazyt.ir.node import Node
from lazyt.ir.ops_elementwise import cast
from lazyt.ir.ops_shape import cat_, narrow, pad_, permute, reshape
from lazyt.missing import getattr_of
from lazyt.state import node_of
from lazyt.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpad_sequence",
    "pack_sequence",
    "unpack_sequence",
]


class PackedSequence_(NamedTuple):
    """The parts of a packed sequence."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """Sequences of several lengths, one step after the other.

    data: (rows, *), the first elements of all sequences, then the second ones of those that have
    one, … batch_sizes: int64 (steps,) on the CPU, the rows of each step. sorted_indices: where the
    sequences stood before they were sorted; unsorted_indices: its inverse.

    Errors: ValueError for batch_sizes that are on a device.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:  # data and sizes as a pair
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn. https://pytorch.org/docs/stable/nn.html"
                "#torch.nn.utils.rnn.pack_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with `data` in another dtype or on another device; itself where it is so."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        moved = [None if i is None else i.to(data.device) for i in self[2:]]
        return type(self)(data, self.batch_sizes, *moved)

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on a GPU."""
        return self.to(*args or ("cuda",), **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu", *args, **kwargs)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(lazyt.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(lazyt.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(lazyt.float16)

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.to(lazyt.int64)

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.to(lazyt.int32)

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self.to(lazyt.int16)

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self.to(lazyt.int8)

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self.to(lazyt.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether `data` is on a GPU."""
        return self.data.is_cuda

    def pin_memory(self) -> PackedSequence:
        """Itself in pinned memory."""
        moved = [None if i is None else i.pin_memory() for i in self[2:]]
        return type(self)(self.data.pin_memory(), self.batch_sizes, *moved)

    def is_pinned(self) -> bool:
        """Whether `data` is in pinned memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one; None for None."""
    if permutation is None:
        return None
    places = lazyt.arange(permutation.numel(), device=permutation.device)
    return lazyt.empty_like(permutation).scatter_(0, permutation, places)


# --- packing --------------------------------------------------------------------------------------


def _runs(sizes: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """Steps of equal size that follow each other: the first one, their number, the size."""
    start = 0
    for size, group in groupby(sizes):
        count = len(list(group))
        yield start, count, size
        start += count


def _checked_lengths(lengths: Tensor, batch: int) -> list[int]:
    """The lengths as numbers; RuntimeError in PyTorch's words where they are no lengths."""
    if lengths.dim() != 1 or lengths.device.type != "cpu":
        kind = "CPU" if lengths.device.type == "cpu" else str(lengths.device)
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {kind} {scalar_name(lengths.dtype)} tensor"
        )
    counts = lengths.tolist()
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={batch})"
        )
    if counts[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(a < b for a, b in zip(counts, counts[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    return counts


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded tensor (steps, batch, *), or (batch, steps, *), packed.

    lengths: of the sequences, a list or a tensor on the CPU, in falling order if
    `enforce_sorted`. Errors: RuntimeError for other lengths and for empty tensors.
    """
    if isinstance(lengths, Tensor):
        lengths = lengths.to(lazyt.int64)
    else:
        lengths = lazyt.as_tensor(lengths, dtype=lazyt.int64, device="cpu")
    order = None
    if not enforce_sorted:
        lengths, order = lazyt.sort(lengths, descending=True)
        order = order.to(input.device)
        input = input.index_select(0 if batch_first else 1, order)
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    node = node_of(input)
    if batch_first:
        node = permute(node, (1, 0, *range(2, len(node.type.shape))))
    steps, batch, *rest = node.type.shape
    counts = _checked_lengths(lengths, batch)
    if counts[0] > steps:
        raise RuntimeError(
            f"Expected lengths of at most {steps}, the steps of the input, but got {counts[0]}"
        )
    sizes = [sum(n > t for n in counts) for t in range(counts[0])]
    parts = [
        reshape(narrow(narrow(node, 0, start, count), 1, 0, size), (count * size, *rest))
        for start, count, size in _runs(sizes)
    ]
    packed = tagged(cat_(*parts, arg=(0,)), "PackPaddedSequence", node, saves=False)
    return PackedSequence(wrap(packed), lazyt.tensor(sizes), order, None)


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (length, *) packed, without being padded by the caller."""
    lengths = lazyt.as_tensor([v.size(0) for v in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """A packed sequence as a padded tensor (steps, batch, *), or (batch, steps, *), and the
    lengths, int64 (batch,), both in the order before sorting.

    total_length: of the dimension of steps; ValueError where that is less than the longest.
    """
    sizes = sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = node_of(sequence.data)
    value = coerce(padding_value, data.type.dtype)
    batch, rest = sizes[0], data.type.shape[1:]
    parts, row = [], 0
    for start, count, size in _runs(sizes):
        part = reshape(narrow(data, 0, row, count * size), (count, size, *rest))
        after = steps - len(sizes) if start + count == len(sizes) else 0
        parts.append(_filled(part, value, (0, after), (0, batch - size)))
        row += count * size
    padded = renamed(cat_(*parts, arg=(0,)), "CopySlices")
    output = wrap(padded)
    if batch_first:
        output = output.transpose(0, 1)
    lengths = lazyt.tensor([sum(size > i for size in sizes) for i in range(batch)])
    original = sequence.unsorted_indices
    if original is None:
        return output, lengths
    return output.index_select(0 if batch_first else 1, original), lengths[original.cpu()]


def _filled(x: Node, value: Any, *widths: tuple[int, int]) -> Node:
    """`x` framed along its first axes by `value`; itself where the widths are 0."""
    if not any(a or b for a, b in widths):
        return x
    rest = ((0, 0),) * (len(x.type.shape) - len(widths))
    return pad_(x, value, arg=((*widths, *rest),))


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed one, each (length, *)."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


# --- padding --------------------------------------------------------------------------------------


def pad_sequence(
    sequences: Any,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (length, *) as the columns of (steps, batch, *), or the rows of (batch, steps, *).

    padding_value stands after what is shorter, or before it with padding_side="left". The dtype is
    that of the first. Errors: RuntimeError for no sequences, other sides, and shapes that do not
    fit.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    nodes = [node_of(t) for t in sequences]
    if not nodes:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    dtype, rest = nodes[0].type.dtype, nodes[0].type.shape[1:]
    value = coerce(number_of(padding_value), dtype)
    steps = max(n.type.shape[0] for n in nodes)
    axis = 0 if batch_first else 1
    columns = []
    for node in nodes:
        _check_trailing(node, rest)
        missing = steps - node.type.shape[0]
        width = (missing, 0) if padding_side == "left" else (0, missing)
        filled = _filled(cast(node, dtype), value, width)
        columns.append(reshape(filled, (1, steps, *rest) if batch_first else (steps, 1, *rest)))
    return wrap(renamed(cat_(*columns, arg=(axis,)), "CopySlices"))


def _check_trailing(node: Node, rest: tuple[int, ...]) -> None:
    shape = node.type.shape[1:]
    for axis in range(-1, -min(len(shape), len(rest)) - 1, -1):
        if shape[axis] != rest[axis]:
            place = len(rest) + 1 + axis
            raise RuntimeError(
                f"The size of tensor a ({rest[axis]}) must match the size of tensor b "
                f"({shape[axis]}) at non-singleton dimension {place}"
            )
    if len(shape) != len(rest):
        raise RuntimeError(
            f"Expected sequences of {len(rest) + 1} dimensions, as the first one, but got "
            f"{len(shape) + 1}"
        )


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded tensor, each (length, *). ValueError for too few lengths."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [
        sequence[: max(int(length), 0)]
        for sequence, length in zip(padded_sequences, lengths, strict=True)
    ]


__getattr__ = getattr_of(__name__)
