"""The text of a tensor, character for character PyTorch's.

Programs, tutorials and doctests show what ``print(tensor)`` gives, so the text is part of the
surface. One formatting decision is made for a whole tensor, from the elements that will be shown:

    [0.5, 100.]      no decimal is lost, ratio 200     ->  tensor([  0.5000, 100.0000])
    [1e-5, 1.]       ratio above 1000                  ->  tensor([1.0000e-05, 1.0000e+00])
    [1., nan]        every finite element an integer   ->  tensor([1., nan])

A tensor above the threshold is first reduced to its edge elements and only then looked at, so the
cost depends on what is shown and not on what the tensor holds. The rules are those of
``torch.set_printoptions`` (https://pytorch.org/docs/stable/generated/torch.set_printoptions.html)
and of PyTorch 2.13, whose behaviour the tests compare with.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class PrintOptions(NamedTuple):
    """How tensors are shown; the defaults are those of the profile ``"default"``."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors are shown, for the whole process.

    ``precision`` counts the digits after the point, a tensor of more than ``threshold`` elements
    is summarised to ``edgeitems`` at either end of each axis, and lines are broken at ``linewidth``
    characters. ``profile`` (``"default"``, ``"short"`` or ``"full"``) sets these four first; an
    unknown profile changes nothing, as in PyTorch. ``sci_mode`` forces scientific notation on or
    off. It is set by every call: leaving it out returns to the automatic choice.
    """
    global _options
    base = _options if profile is None else _PROFILES.get(profile, _options)
    _options = PrintOptions(
        precision=base.precision if precision is None else precision,
        threshold=base.threshold if threshold is None else threshold,
        edgeitems=base.edgeitems if edgeitems is None else edgeitems,
        linewidth=base.linewidth if linewidth is None else linewidth,
        sci_mode=sci_mode,
    )


def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments that :func:`set_printoptions` takes back."""
    return _options._asdict()


def tensor_text(
    value: np.ndarray | np.generic,
    dtype_name: str,
    *,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    device: str = "cpu",
    default_dtype: str = "float32",
    class_name: str = "tensor",
    parameter: bool = False,
) -> str:
    """The text that PyTorch's ``repr`` gives for a tensor.

    Args:
        value: the elements, of any shape and strides. A dtype that NumPy lacks comes as a wider
            one that holds the same values (bfloat16 as float32).
        dtype_name: PyTorch's name of the dtype without ``torch.``, such as ``"bfloat16"``.
        requires_grad: whether the tensor is a leaf that requires a gradient.
        grad_fn: the class name of the tensor's ``grad_fn``, such as ``"AddBackward0"``; it stands
            in place of ``requires_grad=True``.
        device: where the tensor is; not named where that is the CPU.
        default_dtype: the current default dtype, which is not spelled out.
        class_name: ``"tensor"``, or the name of the user's subclass of Tensor.
        parameter: whether the tensor is an ``nn.Parameter``.
    """
    options = _options
    indent = len(class_name) + 1
    text = _with_suffixes(
        f"{class_name}({_elements_text(value, indent, options)}",
        _suffixes(value, dtype_name, requires_grad, grad_fn, device, default_dtype, options),
        indent,
        options.linewidth,
    )
    if not parameter:
        return text
    # PyTorch marks a parameter of a user's own class twice.
    return "Parameter containing:\n" + (text if class_name == "tensor" else f"Parameter({text})")


def format_scalar(value: np.ndarray | np.generic, format_spec: str) -> str:
    """What ``format(tensor, format_spec)`` gives for a zero-dimensional tensor.

    It is formatted as the Python number that it holds: ``f"{tensor(0.5):.2f}"`` is ``0.50`` and
    ``f"{tensor(2.)}"`` is ``2.0``. PyTorch treats only plain zero-dimensional tensors so; all
    others, subclasses and parameters among them, go through ``object.__format__``.

    Raises:
        TypeError: ``value`` has dimensions, in the words of ``object.__format__``.
    """
    if value.ndim:
        raise TypeError("unsupported format string passed to Tensor.__format__")
    return format(value.item(), format_spec)


# What follows the elements: dtype, gradient and so on


def _suffixes(
    value: np.ndarray | np.generic,
    dtype_name: str,
    requires_grad: bool,
    grad_fn: str | None,
    device: str,
    default_dtype: str,
    options: PrintOptions,
) -> list[str]:
    """The remarks after the elements, in PyTorch's order."""
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    if value.size == 0:
        # Brackets alone show neither the shape nor, with no element to infer it from, the dtype.
        shape_is_shown = value.ndim == 1
        dtype_is_shown = dtype_name == default_dtype
    else:
        shape_is_shown = options.edgeitems != 0
        default_complex = "complex128" if default_dtype == "float64" else "complex64"
        dtype_is_shown = dtype_name in (default_dtype, "int64", "bool", default_complex)
    if not shape_is_shown:
        suffixes.append(f"size={tuple(value.shape)}")
    if not dtype_is_shown:
        suffixes.append(f"dtype=torch.{dtype_name}")
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    return suffixes


def _with_suffixes(text: str, suffixes: list[str], indent: int, linewidth: int) -> str:
    """``text`` and its suffixes, each on a new line where the last line has no room for it."""
    # PyTorch counts the last line of the elements two characters longer than it is.
    column = len(text) - (text.rfind("\n") + 1) + 2
    for suffix in suffixes:
        if column + len(suffix) + 2 > linewidth:
            text += ",\n" + " " * indent + suffix
            column = indent + len(suffix)
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


# The elements and their brackets


def _elements_text(value: np.ndarray | np.generic, indent: int, options: PrintOptions) -> str:
    """The elements in nested brackets, the first bracket standing in column ``indent``."""
    if value.size == 0:
        return "[]"
    rank = value.ndim
    edge = options.edgeitems
    is_cut = [False] * rank
    if rank and value.size > options.threshold:
        if edge == 0:
            return "[...]"
        is_cut = [extent > 2 * edge for extent in value.shape]
        value = _edges(np.asarray(value), edge)
    cells, cell_width = _cells(value.ravel().tolist(), value.dtype.kind, options)
    if rank == 0:
        return cells[0]

    shape = value.shape
    row_indent = indent + rank - 1
    per_line = max(1, math.floor((options.linewidth - row_indent) / (cell_width + 2)))
    line_break = ",\n" + " " * (row_indent + 1)
    blocks = []
    for row in _groups(cells, shape[-1]):
        if is_cut[-1]:
            row.insert(edge, " ...")
        lines = (", ".join(line) for line in _groups(row, per_line))
        blocks.append("[" + line_break.join(lines) + "]")
    for axis in range(rank - 2, -1, -1):
        separator = "," + "\n" * (rank - 1 - axis) + " " * (indent + axis + 1)
        outer = []
        for group in _groups(blocks, shape[axis]):
            if is_cut[axis]:
                group.insert(edge, "...")
            outer.append("[" + separator.join(group) + "]")
        blocks = outer
    return blocks[0]


def _groups(items: list[str], length: int) -> list[list[str]]:
    """``items`` cut into consecutive lists of ``length``, the last one perhaps shorter."""
    return [items[start : start + length] for start in range(0, len(items), length)]


def _edges(value: np.ndarray, edge: int) -> np.ndarray:
    """The first and last ``edge`` elements along every axis that is longer than both together."""
    kept = [
        [*range(edge), *range(extent - edge, extent)] if extent > 2 * edge else range(extent)
        for extent in value.shape
    ]
    # One gather: cutting one axis after the other would copy nearly all of a shape like (7, 10**8).
    return value[np.ix_(*kept)]


# The text of single elements


def _cells(values: list[Any], kind: str, options: PrintOptions) -> tuple[list[str], int]:
    """Every element's text and the common width by which a line's capacity is counted.

    ``kind`` is NumPy's letter for the kind of dtype. Texts are padded to the width; they can be
    longer, since zeros, infinities and NaN do not take part in finding it.
    """
    if kind == "c":
        return _complex_cells(values, options)
    if kind == "f":
        texts, width = _float_texts(values, options)
    else:
        texts = list(map(str, values))
        width = max(map(len, texts))
    return [text.rjust(width) for text in texts], width


def _complex_cells(values: list[complex], options: PrintOptions) -> tuple[list[str], int]:
    """As :func:`_cells`: real and imaginary parts choose their notation separately."""
    reals, real_width = _float_texts([value.real for value in values], options)
    imaginaries, imaginary_width = _float_texts([value.imag for value in values], options)
    cells = [
        real.rjust(real_width) + ("" if imaginary[0] == "-" else "+") + imaginary + "j"
        for real, imaginary in zip(reals, imaginaries, strict=True)
    ]
    return cells, real_width + imaginary_width + 1


def _float_texts(values: list[float], options: PrintOptions) -> tuple[list[str], int]:
    """The unpadded texts of floating-point values in one common notation, and their width.

    The notation follows from the nonzero finite values: scientific if their magnitudes span more
    than a factor of 1000, exceed 1e8 or fall below 1e-4; otherwise integers with a bare point if
    that is what they all are; otherwise fixed-point.
    """
    isfinite = math.isfinite
    # NaN is true, so the second test is what removes it.
    is_counted = [bool(value) and isfinite(value) for value in values]
    counted = [value for value, counts in zip(values, is_counted, strict=True) if counts]
    scientific = False
    integral = True
    if counted:
        integral = all(map(float.is_integer, counted))
        if options.sci_mode is None:
            magnitudes = list(map(abs, counted))
            smallest, largest = min(magnitudes), max(magnitudes)
            scientific = largest / smallest > 1000.0 or largest > 1e8 or smallest < 1e-4
        else:
            scientific = options.sci_mode

    if scientific:
        texts = list(map(f"{{:.{options.precision}e}}".format, values))
    elif integral:
        texts = [f"{value:.0f}." if isfinite(value) else str(value) for value in values]
    else:
        texts = list(map(f"{{:.{options.precision}f}}".format, values))
    widths = (len(text) for text, counts in zip(texts, is_counted, strict=True) if counts)
    return texts, max(widths, default=1)
