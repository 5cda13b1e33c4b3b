"""Tensors from nothing, from others and from NumPy; conversions; and what programs read of them.

x4 = x1.new_full((2, 3), 0.5)
x5 = x4.float()
out.append(f'{x5.sum().item():.2f}')
"""

from __future__ import annotations

from .base import SHAPES, Statement
from .mistakes import Mistakes
from .model import BOOL, F32, F64, I64, INEXACT, Track, Var

# {s} is a shape; the values are exact and small.
NEW = [
    "torch.full({s}, 0.5, dtype=torch.float64)",
    "torch.empty({s}, dtype=torch.float64).fill_(0.25)",
    "torch.empty({s}, dtype=torch.float64).zero_()",
    "torch.as_tensor(np.full({s}, 1.5))",
    "torch.tensor(np.arange(np.prod({s})).reshape({s}) / 4)",
    "torch.DoubleTensor(*{s}).zero_()",
    "torch.ones(*{s}, dtype=torch.double)",
    "torch.linspace(-1, 1, 5, dtype=torch.float64)[2].expand({s}).clone()",
    "torch.zeros({s}, dtype=torch.float64).type(torch.float64)",
]
# {x} is a float64 tensor without dimensions that repeat; the result has its shape.
LIKE = [
    "torch.zeros_like({x})",
    "torch.ones_like({x})",
    "torch.full_like({x}, 0.5)",
    "torch.empty_like({x}).fill_(1.5)",
    "{x}.new_zeros({x}.shape)",
    "{x}.new_ones(*{x}.shape)",
    "{x}.new_full({x}.size(), 0.25)",
    "{x}.new_empty({x}.shape).zero_()",
    "torch.zeros({x}.shape, dtype={x}.dtype)",
]
DRAWN = [
    "torch.rand_like({x})",
    "torch.randn_like({x})",
    "torch.bernoulli(torch.sigmoid({x}))",
    "torch.normal(0.0, 0.5, {x}.shape, dtype=torch.float64)",
    "torch.normal({x}.detach(), 0.5)",
    "torch.rand({x}.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)",
    "torch.randn({x}.shape, dtype=torch.float64)",
    "torch.empty({x}.shape, dtype=torch.float64).exponential_()",
    "F.dropout({x}, 0.25)",
]
# Conversions that give back a tensor that has the dtype already.
KEEPING = (".to(", ".type_as(", ".double()", ".long()")
# The dtype a conversion leads to.
CONVERSIONS = [
    ("{x}.double()", F64),
    ("{x}.to(torch.float64)", F64),
    ("{x}.half().double()", F64),
    ("{x}.to(torch.bfloat16).double()", F64),
    ("{x}.float().double()", F64),
    ("{x}.type_as(torch.ones(1, dtype=torch.float64))", F64),
    ("{x}.to(torch.ones(1, dtype=torch.float64))", F64),
    ("{x}.to('cpu', torch.float64, copy=True)", F64),
    ("{x}.long()", I64),
    ("{x}.int().long()", I64),
    ("{x}.to(dtype=torch.int16).long()", I64),
    ("{x}.bool()", BOOL),
    ("{x} != 0", BOOL),
]
READS = [
    "len({x}.shape)",
    "{x}.size(-1) if {x}.dim() else {x}.size()",
    "f'{{{x}.sum().item():.1f}}'",
    "f'{{{x}.detach().sum():.1f}}'",
    "int({x}.sum()) + 1",
    "{x}.sum().item() * 2 ** 0.5",
    "torch.allclose({x}, {x} + 1e-9)",
    "list(range(int({x}.bool().sum())))",
    "[row.sum().item() for row in {x}.reshape(-1, 1)]",
    "{x}.device.type",
    "torch.isfinite({x}).all().item()",
    "{x}.unique().numel()",
    "torch.unique({x}, return_counts=True)[1].tolist()",
    "torch.searchsorted(torch.tensor([-1.0, 0.0, 1.0], dtype={x}.dtype), {x}.detach()).tolist()",
    "torch.bucketize({x}.detach(), torch.tensor([-1.0, 0.5])).sum().item()",
    "torch.bincount({x}.detach().abs().long().flatten()).tolist()",
    "torch.histc({x}.detach(), 4, -2, 2).tolist()",
    "{x}.flatten().tolist()[:3]",
    "{x}.nelement() * {x}.element_size()",
    "torch.where({x} > 0.3)[0].tolist()",
    "torch.argwhere({x} > 0.3).shape",
    "torch.nonzero({x} > 0.3, as_tuple=True)[0].numel()",
    "{x}.equal({x}.clone())",
    "sum({x}.detach().numpy().ravel().tolist())",
    "torch.result_type({x}, torch.ones(1))",
    "torch.broadcast_shapes({x}.shape, (1,))",
    "(torch.get_default_dtype(), torch.ones(1).dtype, torch.tensor(1).dtype)",
]
BATCHES = [
    "for (b,) in DataLoader({data}, batch_size=2):\n    out.append(b.tolist())",
    "for (b,) in DataLoader({data}, 2, shuffle=True):\n    out.append(b.tolist())",
    "for (b,) in DataLoader({data}, 2, drop_last=True):\n    out.append(b.tolist())",
    "out.append([p.indices for p in torch.utils.data.random_split({data}, [1, len({data}) - 1])])",
]


class Creation(Mistakes):
    """Adds new tensors, conversions and reads."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("creation", 4, self.new_by_shape),
            ("creation", 5, self.new_like),
            ("creation", 5, self.convert),
            ("creation", 8, self.read_more),
            ("creation", 2, self.read_batches),
            ("creation", 1, self.change_default),
        ]

    def new_by_shape(self) -> None:
        shape = self.pick([s for s in SHAPES if s and 0 not in s])
        if not self.fixed:
            text = self.pick(NEW).format(s=shape)
            self.bind(self.result(text, shape, F64, 5, 2))

    def new_like(self) -> None:
        v = self.some(lambda v: v.dtype == F64 and not v.overlaps and not v.crosses)
        if v is None or self.fixed:
            return
        drawn = self.chance(0.4)
        if drawn and (v.loose or v.permuted):
            return  # PyTorch fills memory in its own order
        text = self.pick(DRAWN if drawn else LIKE).format(x=v.text)
        made = self.result(text, v.shape, F64, 4, INEXACT if drawn else 2)
        made.loose = len(v.shape) > 1 and (v.loose or v.permuted)
        if "dropout" in text:
            made = self.result(text, v.shape, F64, v.store.top + 2, INEXACT, (v,), (v,), True)
        if made.store.top <= 10:
            self.bind(made)

    def convert(self) -> None:
        """A conversion of values that every dtype on the way can hold."""
        v = self.some(lambda v: v.dtype != F32 and v.store.top + v.store.frac <= 8)
        if v is None or self.fixed:
            return
        text, dtype = self.pick(CONVERSIONS)
        text = text.format(x=v.text)
        call = text.removeprefix(v.text)
        if dtype == v.dtype and "copy" not in call and call.startswith(KEEPING):
            return  # may be the tensor itself
        frac = v.store.frac if dtype == F64 else 0
        made = self.result(text, v.shape, dtype, max(v.store.top, 1), frac, (v,))
        if dtype != F64:
            made.track = Track()
        self.bind(made)

    def read_more(self) -> None:
        v = self.some(lambda v: v.is_float and v.exact and v.array.size > 0 and not v.guarded)
        if v is not None:
            self.emit(f"out.append({self.pick(READS).format(x=v.text)})")

    def read_batches(self) -> None:
        v = self.some(self.serves_as_data)
        if v is not None:
            data = f"torch.utils.data.TensorDataset({v.text}.detach())"
            text = self.pick(BATCHES).format(data=data)
            self.emit(text.replace(" DataLoader", " torch.utils.data.DataLoader"))

    def serves_as_data(self, v: Var) -> bool:
        return v.array.ndim > 0 and v.shape[0] > 1

    def change_default(self) -> None:
        """Another default dtype, for a while."""
        if not self.fixed:
            self.emit("torch.set_default_dtype(torch.float64)")
            self.emit(
                "out.append([torch.ones(2) / 3, torch.tensor(0.5), nn.Linear(2, 1).bias.dtype])"
            )
            self.emit("torch.set_default_dtype(torch.float32)")
