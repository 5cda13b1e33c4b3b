"""Recurrent layers that take one step: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

import math
from typing import Any

from lazyt.functions.creation import empty, zeros
from lazyt.nn import init
from lazyt.nn.functional import recurrent
from lazyt.nn.module import Module
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor


class RNNCellBase(Module):
    """What the cells share: weights (num_chunks * hidden_size, …), which start uniform within
    1 / sqrt(hidden_size), and the checks of what a step is given."""

    input_size: int
    hidden_size: int
    bias: bool
    weight_ih: Tensor
    weight_hh: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        for name, columns in (("weight_ih", input_size), ("weight_hh", hidden_size)):
            setattr(self, name, Parameter(empty((rows, columns), device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def _check_rank(self, what: str, t: Tensor) -> None:
        if t.dim() not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected {what} to be 1D or 2D, got {t.dim()}D instead"
            )

    def _zeros(self, input: Tensor) -> Tensor:
        return zeros(input.size(0), self.hidden_size, dtype=input.dtype, device=input.device)

    def _weights(self) -> tuple[Any, ...]:
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it.

    x (batch, input_size) or (input_size,); h likewise (…, hidden_size), zeros where it is left out.
    """

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        step = {"tanh": recurrent.rnn_tanh_cell, "relu": recurrent.rnn_relu_cell}
        return _one_state(self, input, hx, step.get(self.nonlinearity))


class GRUCell(RNNCellBase):
    """h' = (1 - z) * n + z * h, with r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise, and
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn)).

    x (batch, input_size) or (input_size,); h likewise (…, hidden_size), zeros where it is left out.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return _one_state(self, input, hx, recurrent.gru_cell)


def _one_state(cell: Any, input: Tensor, hx: Tensor | None, step: Any) -> Tensor:
    """A step of a cell whose only state is h; a vector counts as a batch of one."""
    cell._check_rank("input", input)
    if hx is not None:
        cell._check_rank("hidden", hx)
    batched = input.dim() == 2
    if not batched:
        input = input.unsqueeze(0)
    if hx is None:
        hx = cell._zeros(input)
    elif not batched:
        hx = hx.unsqueeze(0)
    if step is None:
        raise RuntimeError(f"Unknown nonlinearity: {cell.nonlinearity}")
    result = step(input, hx, *cell._weights())
    return result if batched else result.squeeze(0)


class LSTMCell(RNNCellBase):
    """c' = f * c + i * g and h' = o * tanh(c'), with i = sigmoid(W_ii x + b_ii + W_hi h + b_hi), f
    and o likewise, and g = tanh(W_ig x + b_ig + W_hg h + b_hg).

    x (batch, input_size) or (input_size,); h and c likewise (…, hidden_size), zeros where they are
    left out. The result is the pair (h', c').
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        self._check_rank("input", input)
        for i, state in enumerate(hx or ()):
            self._check_rank(f"hx[{i}]", state)
        batched = input.dim() == 2
        if not batched:
            input = input.unsqueeze(0)
        states: Any = hx
        if hx is None:
            states = (self._zeros(input),) * 2
        elif not batched:
            states = tuple(state.unsqueeze(0) for state in hx)
        h, c = recurrent.lstm_cell(input, states, *self._weights())
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
