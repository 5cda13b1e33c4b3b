"""Recurrences: RNN, LSTM and GRU over sequences, and their single steps.

A sequence is a matrix of rows, step after step, and how many rows belong to each step. That is what
a packed sequence is; a padded one is the case in which all steps have as many. So there is one
loop, and it is written out in the graph:

    rows (3 + 1, in), sizes [3, 1]       step 0 has rows 0 to 2, step 1 has row 3
    gates = rows @ w_ih.T + b            one product for all steps
    h = step(gates[0:3], h)              (3, hidden)
    h = step(gates[3:4], h[:1])          two sequences have ended; their h is set aside

Formulas are those of https://docs.pytorch.org/docs/2.13/generated/torch.nn.LSTM.html and its
neighbours. Both biases of a gate are one sum where the formula allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from lazyt.dispatch import renamed, scalar_name, tagged, wrap
from lazyt.ir.dtypes import float64, promote
from lazyt.ir.node import LOCAL, Node, caller
from lazyt.ir.ops_elementwise import add, cast, mul, relu, sigmoid, sub, tanh
from lazyt.ir.ops_linalg import matmul
from lazyt.ir.ops_shape import cat_, narrow, permute_, reshape
from lazyt.ir.overwritten import kept_apart
from lazyt.ir.tags import OUTPUT
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor

from .common import tensor_node
from .dropout import dropout as drop
from .linear import linear

States = tuple[Node, ...]  # h, or h and c: of (rows, hidden) each

# --- one step -------------------------------------------------------------------------------------


def _gates(x: Node, count: int) -> list[Node]:
    """The gates that lie side by side in the columns of `x`."""
    hidden = x.type.shape[1] // count
    return [narrow(x, 1, i * hidden, hidden) for i in range(count)]


def _tanh_step(x: Node, recurrent: Node, states: States) -> States:
    return (tanh(add(x, recurrent)),)


def _relu_step(x: Node, recurrent: Node, states: States) -> States:
    return (relu(add(x, recurrent)),)


def _lstm_step(x: Node, recurrent: Node, states: States) -> States:
    entry, keep, content, exit = _gates(add(x, recurrent), 4)
    kept = mul(sigmoid(keep), states[1])
    cell = add(kept, mul(sigmoid(entry), tanh(content)))
    return mul(sigmoid(exit), tanh(cell)), cell


def _gru_step(x: Node, recurrent: Node, states: States) -> States:
    reset, update, content = _gates(x, 3)
    own_reset, own_update, own_content = _gates(recurrent, 3)
    fresh = tanh(add(content, mul(sigmoid(add(reset, own_reset)), own_content)))
    return (add(mul(sub(states[0], fresh), sigmoid(add(update, own_update))), fresh),)


class Kind(NamedTuple):
    """What tells one recurrence from another.

    gates: how many rows of weights there are for an element of the state. step: from what the
    input and what the last h add to the gates, (rows, gates * hidden) each, to the next states.
    apart: whether the biases of the two are needed apart. name: of its functions.
    """

    name: str
    gates: int
    states: int
    step: Callable[[Node, Node, States], States]
    apart: bool = False


KINDS = {
    "RNN_TANH": Kind("rnn_tanh", 1, 1, _tanh_step),
    "RNN_RELU": Kind("rnn_relu", 1, 1, _relu_step),
    "LSTM": Kind("lstm", 4, 2, _lstm_step),
    "GRU": Kind("gru", 3, 1, _gru_step, apart=True),
}

# --- one layer in one direction -------------------------------------------------------------------


class Weights(NamedTuple):
    """The parameters of one layer in one direction, as they stand in a list of weights."""

    ih: Node
    hh: Node
    bias_ih: Node | None = None
    bias_hh: Node | None = None
    hr: Node | None = None


def _product(x: Node, weight: Node, bias: Node | None = None) -> Node:
    y = matmul(x, permute_(weight, arg=((1, 0),)))
    return y if bias is None else add(y, bias)


def _layer(
    kind: Kind, rows: Node, sizes: Sequence[int], first: States, weights: Weights, backwards: bool
) -> tuple[Node, States]:
    """h of all steps as rows, and the states after every sequence's last step.

    rows: (sum of sizes, features). first: the states before the first step, (sizes[0], hidden).
    backwards: from the last step to the first.
    """
    bias, own_bias = weights.bias_ih, weights.bias_hh
    if bias is not None and own_bias is not None and not kind.apart:
        bias, own_bias = add(bias, own_bias), None
    gates = _product(rows, weights.ih, bias)
    recurrent = permute_(weights.hh, arg=((1, 0),))
    projection = None if weights.hr is None else permute_(weights.hr, arg=((1, 0),))
    starts = [0, *accumulate(sizes)]
    steps = range(len(sizes))
    outputs: list[Node] = []
    ended: list[States] = []
    states = _rows(first, 0, sizes[-1] if backwards else sizes[0])
    for t in reversed(steps) if backwards else steps:
        size, have = sizes[t], states[0].type.shape[0]
        if size < have:
            ended.append(_rows(states, size, have))
            states = _rows(states, 0, size)
        elif size > have:
            states = _joined([states, _rows(first, have, size)])
        own = matmul(states[0], recurrent)
        if own_bias is not None:
            own = add(own, own_bias)
        states = kind.step(narrow(gates, 0, starts[t], size), own, states)
        if projection is not None:
            states = (matmul(states[0], projection), *states[1:])
        outputs.append(states[0])
    if backwards:
        outputs.reverse()
    return _one_below_the_other(outputs), _joined([states, *reversed(ended)])


def _rows(states: States, start: int, end: int) -> States:
    return tuple(narrow(s, 0, start, end - start) for s in states)


def _joined(parts: list[States]) -> States:
    return tuple(map(_one_below_the_other, zip(*parts)))


def _one_below_the_other(parts: Sequence[Node]) -> Node:
    return parts[0] if len(parts) == 1 else cat_(*parts, arg=(0,))


# --- all layers -----------------------------------------------------------------------------------


def _weights(flat: Sequence[Tensor], biases: bool, projected: bool) -> Iterator[Weights]:
    """A flat list of parameters, layer by layer and direction by direction."""
    count = 2 + 2 * biases + projected
    for i in range(0, len(flat), count):
        ih, hh, *rest = (node_of(t) for t in flat[i : i + count])
        hr = rest.pop() if projected else None
        bias_ih, bias_hh = rest or (None, None)
        yield Weights(ih, hh, bias_ih, bias_hh, hr)


def _check_devices(input: Node, **others: Sequence[Node]) -> None:
    device = input.type.device
    for name, nodes in others.items():
        for node in nodes:
            if node.type.device != device:
                raise RuntimeError(
                    f"Input and {name} tensors are not at the same device, found input tensor at "
                    f"{device} and {name} tensor at {node.type.device}"
                )


def _check_dtypes(input: Node, states: Sequence[Node]) -> None:
    dtype = input.type.dtype
    for state in states:
        if state.type.dtype is not dtype:
            raise RuntimeError(
                "mat1 and mat2 must have the same dtype, but got "
                f"{scalar_name(state.type.dtype)} and {scalar_name(dtype)}"
            )


def _stack(
    kind: Kind,
    rows: Node,
    sizes: Sequence[int],
    hidden: Sequence[Node],
    weights: Iterator[Weights],
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Node, list[Node]]:
    """Layer over layer: h of the last one as rows, and all last states, stacked as `hidden` is."""
    directions = 2 if bidirectional else 1
    last: list[States] = []
    for layer in range(layers):
        if layer and dropout and train:
            rows = node_of(drop(wrap(rows), dropout, True))
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            first = tuple(_plane(h, place) for h in hidden)
            output, states = _layer(kind, rows, sizes, first, next(weights), direction == 1)
            outputs.append(output)
            last.append(states)
        rows = outputs[0] if directions == 1 else cat_(*outputs, arg=(1,))
    return rows, [_planes(states) for states in zip(*last)]


def _plane(x: Node, place: int) -> Node:
    return reshape(narrow(x, 0, place, 1), x.type.shape[1:])


def _planes(parts: Sequence[Node]) -> Node:
    """Matrices as one stack of them: PyTorch's `stack`."""
    stacked = [reshape(p, (1, *p.type.shape)) for p in parts]
    return tagged(cat_(*stacked, arg=(0,)), "Stack", *parts, saves=False)


def recurrence(
    mode: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    hidden: Sequence[Tensor],
    weights: Sequence[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """The output, and the last states, of layers of recurrences.

    mode: a name of KINDS. input: (steps, batch, features), (batch, steps, features) with
    `batch_first`, or the rows of a packed sequence with its `batch_sizes`. hidden: h, or h and c:
    (layers * directions, batch, hidden) each. weights: for each layer and direction weight_ih,
    weight_hh, the biases if there are `biases`, and weight_hr where h is projected.
    Errors: RuntimeError for sequences without steps, and for tensors of several dtypes or devices.
    """
    kind = KINDS[mode]
    x = tensor_node(input, kind.name)
    states = [tensor_node(h, kind.name, "hx", 2) for h in hidden]
    _check_devices(x, hidden=states, parameter=[node_of(w) for w in weights])
    _check_dtypes(x, states)
    directions = 2 if bidirectional else 1
    projected = len(weights) == layers * directions * (3 + 2 * biases)
    if batch_sizes is not None:
        rows, sizes = x, [int(n) for n in batch_sizes.tolist()]
    else:
        rows, sizes = _as_rows(x, batch_first)
    options = (_weights(weights, biases, projected), layers, dropout, train, bidirectional)
    before, LOCAL.origin = LOCAL.origin, caller()  # looked up once: all steps are one user line
    try:
        rows, last = _stack(kind, rows, sizes, states, *options)
    finally:
        LOCAL.origin = before
    if batch_sizes is not None:
        return wrap(rows), *map(wrap, last)
    fused = mode == "LSTM" and not projected and x.type.dtype is not float64
    y = reshape(rows, (len(sizes), sizes[0], rows.type.shape[1]))
    if fused and not bidirectional:
        output = wrap(tagged(y, "MkldnnRnnLayer", rows, keeps=(OUTPUT,)))
    else:
        output = wrap(tagged(y, "Cat" if bidirectional else "Stack", rows, saves=False))
    if batch_first:
        output = output.transpose(0, 1)
        if mode != "LSTM":  # PyTorch transposes in place there
            renamed(node_of(output), "TransposeBackward1")
    return output, *map(wrap, last)


def _as_rows(x: Node, batch_first: bool) -> tuple[Node, list[int]]:
    """A padded input step after step, and how many rows each step has."""
    if batch_first:
        x = kept_apart(permute_(x, arg=((1, 0, 2),)))  # PyTorch copies it
    steps, batch, features = x.type.shape
    if not steps:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    return reshape(x, (steps * batch, features)), [batch] * steps


# --- the functions that PyTorch has for them ------------------------------------------------------


def _cell_function(mode: str) -> Callable[..., Any]:
    """One step of a recurrence, with both biases where they stand in its formula."""
    kind = KINDS[mode]
    name = f"{kind.name}_cell"

    def cell(
        input: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        if kind.states > 1 and len(hx) != kind.states:
            raise RuntimeError(f"{name} expects two hidden states")
        hidden = (hx,) if kind.states == 1 else tuple(hx)
        _check_step(input, hidden, w_ih, w_hh)
        gates = node_of(linear(input, w_ih, b_ih)), node_of(linear(hidden[0], w_hh, b_hh))
        states = kind.step(*_fitting(kind, gates, tuple(map(node_of, hidden))))
        return wrap(states[0]) if kind.states == 1 else tuple(map(wrap, states))

    cell.__name__ = cell.__qualname__ = name
    cell.__doc__ = (
        f"One step: input (batch, features), hx (batch, hidden){' and c' * (kind.states - 1)}, "
        f"w_ih ({kind.gates} * hidden, features), w_hh ({kind.gates} * hidden, hidden)."
    )
    return cell


def _fitting(kind: Kind, gates: States, states: States) -> tuple[Node, Node, States]:
    """What a step takes, of one dtype: products in lower precision, as autocast makes them, are
    widened where a wider state is added to them."""
    dtype = gates[0].type.dtype
    if kind.gates > 1:
        for state in states:
            dtype = promote(dtype, state.type.dtype)
    given, own = (cast(gate, dtype) for gate in gates)
    return given, own, tuple(cast(state, dtype) for state in states)


def _check_step(input: Tensor, hidden: Sequence[Tensor], w_ih: Tensor, w_hh: Tensor) -> None:
    """PyTorch's RuntimeError for a step whose shapes do not fit together."""
    if input.size(1) != w_ih.size(1):
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.size(1)} expected {w_ih.size(1)}"
        )
    for i, h in enumerate(hidden):
        if input.size(0) != h.size(0):
            raise RuntimeError(
                f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {h.size(0)}"
            )
        if h.size(1) != w_hh.size(1):
            raise RuntimeError(
                f"hidden{i} has inconsistent hidden_size: got {h.size(1)}, expected {w_hh.size(1)}"
            )


def _sequence_function(mode: str) -> Callable[..., Any]:
    """A recurrence over a padded input, (input, hx, params, …, batch_first), or over a packed one,
    (data, batch_sizes, hx, params, …)."""
    kind = KINDS[mode]

    def function(input: Tensor, *args: Any) -> tuple[Tensor, ...]:
        packed = isinstance(args[2], (list, tuple))
        batch_sizes = args[0] if packed else None
        hx, weights, *options = args[1:] if packed else args
        hidden = (hx,) if kind.states == 1 else tuple(hx)
        return recurrence(mode, input, batch_sizes, hidden, weights, *options)

    function.__name__ = function.__qualname__ = kind.name
    function.__doc__ = f"{kind.name} over the steps of a sequence: see `recurrence`."
    return function


rnn_tanh_cell = _cell_function("RNN_TANH")
rnn_relu_cell = _cell_function("RNN_RELU")
lstm_cell = _cell_function("LSTM")
gru_cell = _cell_function("GRU")
FUNCTIONS.update(
    {f.__name__: f for f in (rnn_tanh_cell, rnn_relu_cell, lstm_cell, gru_cell)},
    **{kind.name: _sequence_function(mode) for mode, kind in KINDS.items()},
)
