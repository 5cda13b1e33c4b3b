"""The everyday functions line by line against PyTorch: values, dtypes, gradients, `out=`, errors.

    torch.take_along_dim(x, torch.tensor([[-1]]), 1)

A line is run by both, and their outcomes are compared: what it gives, what its gradients are, or
the type and text of its error.
"""

from __future__ import annotations

import types

import pytest
from harness import load
from surface import lines_of, outcome, same

PREPARATION = """
x = torch.tensor([[1.5, -2.0, 3.0], [4.0, 0.5, -6.0]], requires_grad=True)
y = torch.tensor([[2.0, -2.0, 1.0], [-1.0, 0.25, 3.0]], requires_grad=True)
n = torch.tensor([float('nan'), 1.0, -1.0, 25.0], requires_grad=True)
m = torch.tensor([2.0, float('nan'), -1.0, 30.0], requires_grad=True)
a = torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]], requires_grad=True)
w = torch.tensor([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]], requires_grad=True)
s = torch.tensor(2.5, requires_grad=True)
c = x.detach()
i = torch.tensor([[3, -1, 2], [0, 5, 7]])
k = torch.tensor([[0, 2], [1, 0]])
b = i > 1
h = torch.tensor([50.25, -17.97, 3.0]).half()
bf = torch.tensor([50.25, -17.97, 3.0]).bfloat16()
j = torch.tensor([1, 2, 3], dtype=torch.int32)
f32, f64, i64, i32 = (torch.zeros(2, 3, dtype=t) for t in (
    torch.float32, torch.float64, torch.int64, torch.int32))
"""

# `out=` of another dtype: an error where PyTorch demands the result's, else a conversion.
OUT = """
torch.softmax(c, 0, out=f64)
torch.log_softmax(c, 0, out=i64)
torch.softmax(c, 0, torch.float64, out=f64)
torch.cumsum(c, 0, dtype=torch.float32, out=f64)
torch.cumsum(c, 0, out=f64)
torch.tril(c, out=f64)
torch.triu(c, out=i64)
torch.diag(c[0], out=f64)
torch.gather(c, 0, torch.zeros(1, 1, dtype=torch.int64), out=f64)
torch.scatter(c, 0, torch.zeros(1, 1, dtype=torch.int64), 1.0, out=f64)
torch.index_select(c, 0, torch.tensor([0, 1]), out=f64)
torch.index_add(c, 0, torch.tensor([0, 1]), c, out=f64)
torch.take(c, k, out=f64)
torch.take_along_dim(c, k, 1, out=f64)
torch.where(b, c, c, out=f64)
torch.nan_to_num(c, out=f64)
torch.masked_select(c, b, out=f64)
torch.nonzero(c, out=f64)
torch.searchsorted(c[0], c, out=f64)
torch.linalg.cross(c, c, out=f64)
torch.linalg.vector_norm(c, 3, out=f64)
torch.linalg.inv(a.detach(), out=f64)
torch.linalg.vecdot(c, c, out=f64)
torch.norm(c, 2, out=f64)
torch.tensordot(c, c, 2, out=f64)
torch.dot(c[0], c[0], out=f64)
torch.mv(c, c[0], out=f64[0, :2])
torch.mm(c, c.t(), out=f64)
torch.diff(c, 0, out=f64)
torch.diff(c, out=torch.zeros(2, 2, dtype=torch.float64))
torch.add(c, c, out=f64)
torch.exp(c, out=i64)
torch.clamp_min(c, 0.5, out=f64)
torch.clamp_max(c, c, out=i64)
torch.logaddexp(c, c, out=f64)
torch.isposinf(c, out=torch.ones(2, 3, dtype=torch.bool))
torch.signbit(c, out=f64)
torch.msort(c, out=f64)
torch.histc(c, 6, out=f64)
torch.quantile(c, 0.5, out=f64)
torch.zeros(2, 3, dtype=torch.float32, out=f64)
torch.ones(2, out=f64)
torch.full((3, 2), 1, dtype=torch.int64, out=f32)
torch.eye(2, 3, out=f64, requires_grad=True)
torch.arange(0, 3, 0.5, out=f32)
torch.arange(0, 6, 0.5, out=i64)
torch.arange(3, dtype=torch.float32, out=f64)
torch.linspace(0, 1, 6, out=f32)
torch.linspace(0, 1, 4, dtype=torch.float64, out=f32)
torch.randn(2, 3, dtype=torch.float32, out=f64)
torch.randn(2, 3, out=f32, requires_grad=True)
"""

# Numbers where PyTorch wants tensors, and arguments by their names.
ARGUMENTS = """
torch.eq(2, i)
torch.lt(2, 3)
torch.atan2(2, c)
torch.maximum(2, c)
torch.logical_and(True, b)
torch.remainder(7, i.clamp(min=2))
torch.bitwise_and(6, i)
torch.add(2, 3)
torch.floor_divide(7, 2)
torch.fmod(7, c)
torch.flip(x, dims=[0, 1])
x.flip(dims=(1,))
x.flip(0, dims=(1,))
torch.permute(x, dims=(1, 0))
x.permute(dims=(1, 0))
torch.reshape(x, shape=(3, 2))
x.reshape(shape=(-1,))
x.view(size=(6,))
x[:1].expand(size=(2, 3))
torch.broadcast_to(x[0], size=(2, 3))
torch.tile(x, dims=(2, 1))
x.repeat(repeats=(1, 2))
torch.pow(x, exponent=2)
torch.pow(input=x, exponent=y.detach())
(x * 1).pow_(exponent=2)
torch.split(tensor=x, split_size_or_sections=2, dim=1)
x.split(split_size=1)
torch.split_with_sizes(x, split_sizes=[1, 2], dim=1)
torch.tensor_split(x, sections=2, dim=1)
torch.tensor_split(x, tensor_indices_or_sections=torch.tensor([1, 2]), dim=1)
torch.hsplit(x, indices=[1])
torch.full((2,), 1, pin_memory=False)
torch.arange(3, pin_memory=False)
torch.linalg.norm(input=x, ord=1)
torch.linalg.vector_norm(input=x, ord=3)
x.sum(axis=0, keepdims=True)
torch.narrow(x, 1, torch.tensor([0]), 1)
torch.narrow(x, 1, torch.tensor(1), 2)
torch.narrow(x, 1, torch.tensor(True), 1)
torch.round(i, decimals=0)
torch.round(i)
torch.round(x, decimals=0)
torch.arange(0, 1, 0)
torch.arange(0, 1, 0.5, dtype=torch.int64)
torch.roll(s, 0, 0)
torch.roll(x, [])
torch.movedim(x, (0, -2), (0, 1))
torch.ones(1).view(0, -1)
torch.masked_fill(x, b, torch.ones(1))
torch.nonzero(c, as_tuple=True)
torch.cumsum(x, True)
torch.chunk(x, 1.5)
torch.select(x, 0, 'a')
torch.split(x, 'a')
torch.roll(x, 'a')
torch.unsqueeze(x, 1.5)
torch.transpose(x, 0, None)
torch.broadcast_to(x, 3)
torch.flatten(x, 0, 1.0)
torch.fill(x, 2)
torch.fill(x, s)
torch.zero_(torch.ones(2))
"""

# Values and gradients.
VALUES = """
torch.softmax(s, 0)
s.unfold(0, 1, 1)
s.masked_scatter(torch.tensor(True), x[0].detach())
F.rrelu(s - 3, training=True)
s.unfold(0, 0, 1)
torch.log_softmax(s, -1)
torch.softmax(torch.zeros(3, 0, dtype=torch.int64), 1)
torch.maximum(n, m)
torch.minimum(n, m)
torch.max(n, m)
torch.div(bf, torch.tensor([2.8, 1.0, 0.3]).bfloat16(), rounding_mode='trunc')
torch.div(h, torch.tensor([2.8, 1.0, 0.3]).half(), rounding_mode='trunc')
torch.div(bf, 2.8, rounding_mode='trunc')
torch.diff(c, 0, 1, torch.zeros(2, 1))
torch.diff(x, 2, 1, torch.zeros(2, 1))
torch.tensordot(torch.ones(2, 1), torch.ones(3, 2), dims=([1], [1]))
torch.tensordot(x, x[:, :1], dims=([1], [1]))
torch.einsum('i->', j)
torch.take_along_dim(x, torch.tensor([[-1], [0]]), 1)
torch.take_along_dim(x, torch.tensor([[-1, 0, 1]]), 0)
torch.take_along_dim(x, torch.tensor([-1]))
torch.gather(x, 0, torch.zeros(0, 3, dtype=torch.uint8))
torch.gather(x[0], 0, torch.zeros(2, 0, dtype=torch.uint8))
torch.cross(torch.ones(3) > 0, torch.ones(3) > 0, dim=0)
F.conv_transpose2d(x.view(1, 1, 2, 3), w.view(1, 1, 2, 3), stride=2, output_padding=2, dilation=3)
F.elu(n, 0.8)
F.softplus(n)
F.softplus(n, 3.0, 0.2)
F.glu(i.float()[:, :2])
F.glu(i[:, :2])
F.prelu(i, torch.tensor([1]))
F.kl_div(i, i)
F.binary_cross_entropy(i, i)
F.binary_cross_entropy_with_logits(i, i)
"""

# What is written in place keeps a history of zeros, or its own.
IN_PLACE = """
(x * 1).eq_(y.detach())
(x * 1).ge_(1.0)
(x * 1).logical_not_()
(x * 1).logical_and_(y)
x.ne_(1)
(x * 1).as_strided_((2, 2), (1, 2), 1) + 0
c.clone()[1].as_strided_((2,), (2,)).add_(1)
c.clone().t_().as_strided_((4,), (1,))
torch.ones(1, 3).eq_(c)
b.clone().bitwise_and_(c)
torch.ones(2, 1).bitwise_or_(c)
i.clone().round_(decimals=0)
torch.ones(2, 3, dtype=torch.bool).cumsum_(0, dtype=torch.float32)
"""

DECOMPOSITIONS = """
torch.det(a)
torch.linalg.det(torch.stack([a, a * 2]))
torch.linalg.det(w)
torch.linalg.det(a.half())
torch.linalg.slogdet(-a)
torch.logdet(a)
torch.logdet(-a)
torch.linalg.solve(a, w.t())
torch.linalg.solve(a, x[0])
torch.linalg.solve(a, w, left=False)
torch.linalg.solve(torch.stack([a, a * 2]), w.t())
torch.linalg.solve(a, w)
torch.linalg.solve(a, w.t().double())
torch.linalg.inv(a.bfloat16())
torch.linalg.cholesky(a)
torch.linalg.cholesky(a, upper=True)
torch.linalg.eigvalsh(a)
torch.linalg.eigvalsh(i)
torch.linalg.eigh(a).eigenvalues
torch.linalg.svdvals(w)
torch.linalg.svd(w, full_matrices=False).S
(lambda r: (r.U * r.S) @ r.Vh)(torch.linalg.svd(w, full_matrices=False))
(lambda r: (r.U * r.S) @ r.V.t())(torch.svd(w))
(lambda r: r.Q @ r.R)(torch.linalg.qr(w))
torch.linalg.qr(w.t()).R.abs()
torch.linalg.qr(a, mode='x')
torch.linalg.pinv(w)
torch.linalg.matrix_rank(a)
torch.linalg.matrix_rank(torch.ones(2, 3))
torch.linalg.lstsq(w.t(), a).solution
torch.linalg.lstsq(w.t(), a, driver='gelsd').residuals
torch.linalg.lstsq(s, a)
torch.linalg.matrix_norm(w, 'nuc')
torch.linalg.matrix_norm(w, 2)
torch.linalg.matrix_norm(w, -2)
torch.norm(w, 'nuc')
torch.linalg.matrix_norm(w.half(), 'nuc')
torch.matrix_exp(a)
torch.linalg.matrix_exp(w)
torch.nextafter(x, y)
torch.nextafter(i, i)
"""
LINES = [line for table in (OUT, ARGUMENTS, VALUES, IN_PLACE) for line in lines_of(table)]


@pytest.mark.parametrize("line", LINES)
def test_line(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    found = outcome(load("lazyt"), PREPARATION, line)
    if expected[:2] == ("error", "TypeError"):  # its text lists the function's forms
        expected, found = expected[:2], found[:2]
    assert same(expected, found), expected


@pytest.mark.parametrize("line", lines_of(DECOMPOSITIONS))
def test_decomposition(line: str, oracle: types.ModuleType) -> None:
    expected = outcome(oracle, PREPARATION, line)
    assert same(expected, outcome(load("lazyt"), PREPARATION, line), 2e-4), expected


SINGULAR = {
    "torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))": "torch.linalg.solve: The solver failed",
    "torch.linalg.cholesky(-torch.eye(2))": "the leading minor of order 1 is not positive-definite",
    "torch.linalg.solve(torch.stack([torch.eye(2), torch.zeros(2, 2)]), torch.ones(2, 1))": (
        "torch.linalg.solve: (Batch element 1): The solver failed"
    ),
}


@pytest.mark.parametrize("line", SINGULAR)
def test_singular_matrices_are_errors_when_they_are_read(
    line: str, oracle: types.ModuleType
) -> None:
    for torch in (oracle, load("lazyt")):
        with pytest.raises(torch.linalg.LinAlgError) as raised:
            eval(line, {"torch": torch}).tolist()
        assert type(raised.value).__name__ == "_LinAlgError"
        assert SINGULAR[line] in str(raised.value)
