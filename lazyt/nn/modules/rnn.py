"""Recurrent layers over whole sequences: RNN, LSTM, GRU.

    output, (h, c) = nn.LSTM(3, 4, num_layers=2)(torch.randn(5, 2, 3))
    output.shape, h.shape       # (5, 2, 4): every step of the last layer; (2, 2, 4): layers' ends

Sequences are padded, (steps, batch, features), or packed (nn.utils.rnn). What is computed stands in
nn.functional.recurrent; here are parameters, checks and what is done for inputs without a batch.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from lazyt.functions.creation import empty, zeros
from lazyt.nn import init
from lazyt.nn.functional.recurrent import KINDS, recurrence
from lazyt.nn.module import Module
from lazyt.nn.utils.rnn import PackedSequence
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor
from lazyt.warned import warn

from .rnn_cells import GRUCell as GRUCell
from .rnn_cells import LSTMCell as LSTMCell
from .rnn_cells import RNNCell as RNNCell
from .rnn_cells import RNNCellBase as RNNCellBase

__all__ = ["RNNBase", "RNN", "LSTM", "GRU", "RNNCellBase", "RNNCell", "LSTMCell", "GRUCell"]

Extents = tuple[int, int, int]


def _autocast_is_on() -> bool:
    from lazyt.amp.state import STATE  # which imports optimizers, and they this package

    return bool(STATE.on)


class RNNBase(Module):
    """Layers of recurrences; `mode` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".

    For layer k there are weight_ih_l[k] (gates * hidden_size, features), weight_hh_l[k]
    (gates * hidden_size, h), bias_ih_l[k] and bias_hh_l[k] (gates * hidden_size,), and for a
    projected h weight_hr_l[k] (proj_size, hidden_size); those of the direction from the end on
    are called `…_reverse`. All start uniform within 1 / sqrt(hidden_size).

    Errors: TypeError and ValueError for settings of another kind or size.
    """

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        rows = KINDS[mode].gates * hidden_size
        output = proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            features = output * self._directions if layer else input_size
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (rows, features),
                "weight_hh": (rows, output),
            }
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[: self._directions]:
                named = {f"{name}_l{layer}{suffix}": shape for name, shape in shapes.items()}
                for name, shape in named.items():
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._all_weights.append(list(named))
        self.reset_parameters()

    def _check_settings(self, dropout: Any) -> None:
        number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
        if not number or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if dropout > 0 and self.num_layers == 1:
            warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={self.num_layers}",
            )
        kinds = (("bias", bool), ("batch_first", bool), ("input_size", int), ("hidden_size", int))
        for name, kind in kinds:
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
                )
            if kind is int and value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if self.mode not in KINDS:
            raise ValueError("Unrecognized RNN mode: " + self.mode)

    # Parameters

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for name in self._flat_weights_names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Does nothing: parameters need not lie together in memory."""

    def reset_parameters(self) -> None:
        """Draws new initial values."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        for name, value in {"proj_size": 0, **usual, "bidirectional": False}.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text

    # Checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Errors: ValueError for another dtype than the weights', RuntimeError for shapes."""
        dtype = self._flat_weights[0].dtype
        if input.dtype != dtype and not _autocast_is_on():
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({dtype}). Convert "
                f"input: input.to({dtype}), or convert model: model.to({input.dtype})"
            )
        rank = 3 if batch_sizes is None else 2
        if input.dim() != rank:
            raise RuntimeError(f"input must have {rank} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.size(-1)}"
            )

    def _expected_size(self, input: Tensor, batch_sizes: Tensor | None, width: int) -> Extents:
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0 if self.batch_first else 1)
        return self.num_layers * self._directions, batch, width

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> Extents:
        """The shape of h for an input."""
        return self._expected_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: Any, msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """RuntimeError where a state has not the expected shape."""
        if tuple(hx.size()) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.size())))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Errors: as `check_input` and `check_hidden_size`."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """The states with the batch in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # Running

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None) -> Any:
        """The states before the first step where none are given."""
        extents = self.get_expected_hidden_size(input, batch_sizes)
        return zeros(extents, dtype=input.dtype, device=input.device)

    def _run(self, input: Tensor, hx: Any, batch_sizes: Tensor | None) -> tuple[Tensor, Any]:
        """The output and the last states of checked arguments."""
        single = isinstance(hx, Tensor)
        states: Sequence[Tensor] = (hx,) if single else hx
        output, *last = recurrence(
            self.mode,
            input,
            batch_sizes,
            states,
            self._flat_weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        return output, last[0] if single else tuple(last)

    def _run_packed(self, sequence: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        input, batch_sizes, order, original = sequence
        if hx is None:
            hx = self._zeros(input, batch_sizes)
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(input, hx, batch_sizes)
        output, last = self._run(input, hx, batch_sizes)
        packed = PackedSequence(output, batch_sizes, order, original)
        return packed, self.permute_hidden(last, original)

    def _run_padded(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        if input.dim() not in (2, 3):
            raise ValueError(self._wrong_rank(input.dim()))
        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1
        if not batched:
            input = input.unsqueeze(batch_dim)
        if hx is None:
            hx = self._zeros(input, None)
        else:
            hx = self._with_batch(hx, batched)
        self.check_forward_args(input, hx, None)
        output, last = self._run(input, hx, None)
        if batched:
            return output, last
        return output.squeeze(batch_dim), self._without_batch(last)

    def _wrong_rank(self, rank: int) -> str:
        return f"{type(self).__name__}: Expected input to be 2D or 3D, got {rank}D instead"

    def _with_batch(self, hx: Tensor, batched: bool) -> Any:
        if hx.dim() != (3 if batched else 2):
            given = "batched 3-D input, hx should also be 3-D"
            if not batched:
                given = "unbatched 2-D input, hx should also be 2-D"
            raise RuntimeError(f"For {given} but got {hx.dim()}-D tensor")
        return hx if batched else hx.unsqueeze(1)

    def _without_batch(self, last: Any) -> Any:
        return last.squeeze(1)


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu of it, for every step and layer.

    RNN(input_size, hidden_size, num_layers=1, nonlinearity="tanh", bias=True, batch_first=False,
    dropout=0.0, bidirectional=False). Of an input (steps, batch, input_size) and h
    (layers * directions, batch, hidden_size) the results are the last layer's h of all steps,
    (steps, batch, directions * hidden_size), and every layer's last h. Without a batch these
    dimensions are missing; with `batch_first` the batch comes first in input and output.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            self.nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            self.nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if self.nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{self.nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{self.nonlinearity.upper()}", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        return self._run_padded(input, hx)

    def _wrong_rank(self, rank: int) -> str:
        return f"RNN: Expected input to be 2D or 3D, got {rank}D tensor instead"


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014; formulas: `GRUCell`) for every step and layer.

    GRU(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False). Inputs and results as of `RNN`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        return self._run_padded(input, hx)


Pair = tuple[Tensor, Tensor]


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; formulas: `LSTMCell`) for every step
    and layer; with `proj_size`, h is W_hr (o * tanh(c)).

    LSTM(input_size, hidden_size, num_layers=1, bias=True, batch_first=False, dropout=0.0,
    bidirectional=False, proj_size=0). Inputs and results as of `RNN`, but that states are pairs
    (h, c), of which c is never projected.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def forward(self, input: Any, hx: Pair | None = None) -> tuple[Any, Pair]:
        if isinstance(input, PackedSequence):
            return self._run_packed(input, hx)
        return self._run_padded(input, hx)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> Extents:
        """The shape of c for an input."""
        return self._expected_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Errors: as `check_input` and `check_hidden_size`."""
        self.check_input(input, batch_sizes)
        expected = (
            self.get_expected_hidden_size(input, batch_sizes),
            self.get_expected_cell_size(input, batch_sizes),
        )
        for i, extents in enumerate(expected):
            message = f"Expected hidden[{i}] size {{}}, got {{}}"
            self.check_hidden_size(hidden[i], extents, message)

    def permute_hidden(self, hx: Pair, permutation: Tensor | None) -> Pair:
        """The states with the batch in another order."""
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)

    def _zeros(self, input: Tensor, batch_sizes: Tensor | None) -> Pair:
        cells = self.get_expected_cell_size(input, batch_sizes)
        kind = {"dtype": input.dtype, "device": input.device}
        return super()._zeros(input, batch_sizes), zeros(cells, **kind)

    def _with_batch(self, hx: Any, batched: bool) -> Pair:
        ranks = hx[0].dim(), hx[1].dim()
        if ranks != ((3, 3) if batched else (2, 2)):
            given = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {given} input, hx and cx should also be {3 if batched else 2}-D but got "
                f"({ranks[0]}-D, {ranks[1]}-D) tensors"
            )
        h, c = hx
        return (h, c) if batched else (h.unsqueeze(1), c.unsqueeze(1))

    def _without_batch(self, last: Pair) -> Pair:
        return last[0].squeeze(1), last[1].squeeze(1)
