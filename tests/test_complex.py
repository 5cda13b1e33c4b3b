"""Complex tensors: what a line gives is what PyTorch gives, errors to the word.

Numbers are compared to a tolerance, for a complex product may be rounded in another order.
"""

from __future__ import annotations

import io
import types
import warnings

import numpy as np
import pytest
from c_tier import needs_compiler
from surface import lines_of, outcome, same

import lazyt
from lazyt.codegen.cstyle import can
from lazyt.codegen.grouping import has_template, no_kernel
from lazyt.ir import dtypes
from lazyt.ir.complexes import refuse
from lazyt.ir.graph import Value
from lazyt.ir.opdef import PLACING, REFUSING, REGISTRY
from lazyt.ir.types import TensorType

PREPARATION = """
z = torch.tensor([[1 + 2j, -3 + 0.5j], [0.25j, -2]])
w = torch.tensor([[0.5 - 1j, 2], [1 + 1j, -0.75j]])
v = torch.tensor([1 - 1j, 2 + 0.5j])
d = torch.tensor([1.5 + 0.5j], dtype=torch.complex128)
r = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
i = torch.tensor([1, 2])
m = torch.tensor([True, False])
"""

DTYPES = """
torch.tensor(1j)
torch.tensor([1, 2.5, 3j])
torch.tensor([1, 2], dtype=torch.complex128)
torch.tensor(np.array([1j, 2]))
torch.tensor(np.complex64(2 - 1j))
torch.from_numpy(np.array([1j, 2], np.complex64))
torch.as_tensor([1j, 1])
torch.tensor([1j], dtype=torch.float32)
torch.tensor(1j, dtype=torch.int64)
torch.zeros(2, dtype=torch.cfloat)
torch.ones(2, dtype=complex)
torch.empty(0, dtype=torch.cdouble)
torch.full((2,), 1j)
torch.full((2,), 3, dtype=torch.complex64)
torch.full((2,), 1j, dtype=torch.float32)
torch.full_like(z, 2 - 1j)
torch.zeros_like(z)
z.new_tensor([1])
torch.eye(2, dtype=torch.complex64)
torch.linspace(0, 1, 3, dtype=torch.complex64)
torch.arange(3, dtype=torch.complex64)
torch.rand(3, dtype=torch.complex64)
torch.randn(3, dtype=torch.complex128)
str(torch.promote_types(torch.complex64, torch.float64))
str(torch.promote_types(torch.complex64, torch.int64))
str(torch.result_type(r.double(), 1j))
str(torch.result_type(i, 1j))
str(torch.result_type(r, d[0]))
str(torch.result_type(r.double(), z[0, 0]))
str(torch.float64.to_complex())
str(torch.complex128.to_real())
torch.can_cast(torch.complex64, torch.float32)
torch.can_cast(torch.float64, torch.complex64)
(torch.finfo(torch.complex64).bits, torch.finfo(torch.complex64).eps)
torch.iinfo(torch.complex64)
(z.is_complex(), z.is_floating_point(), z.is_signed(), z.element_size(), z.type())
torch.set_default_dtype(torch.complex64)
"""

CONVERSIONS = """
r.to(torch.complex64)
i.cdouble()
z.to(torch.complex128)
z.float()
z.int()
z.bool()
z.type_as(r)
r.copy_(z)
x = torch.zeros(2); x[:] = v
x = torch.zeros(2); x[0] = 1 + 2j
x = torch.zeros(2); x.fill_(1j)
x = torch.zeros(2); x += v
x = torch.zeros(2); x += 1j
z[0, 0].item()
complex(z[0, 0])
float(z[1, 1])
float(z[0, 0])
int(z[0, 0])
bool(z[0, 0])
f"{z[0, 0]:.2f}"
z.numpy().tolist()
repr(z)
repr(d * 1e-7)
(1 + 2j) in z
"""

MOVES = """
z[0]
z.T
z[:, 1:]
z[[1, 0]]
z[z.abs() > 2]
x = z.clone(); x[0] = 1j
x = z.clone(); x[[0, 1], [1, 0]] = 2 - 1j
x = z.clone(); x[x.abs() > 2] = 1j
x = z.clone(); x[:, 0] = r[0]
x = z.clone(); x.T[0] += 1
torch.cat([z, r])
torch.stack([v, v.conj()])
z.flip(0)
z.roll(1)
v.repeat(2)
v.diag()
z.tril()
z.reshape(4).contiguous()
z.gather(0, torch.tensor([[1, 0]]))
v.scatter(0, torch.tensor([1]), 1j)
v.index_add(0, torch.tensor([0]), v[1:])
torch.where(m, v, 1j)
torch.where(m, 1j, r[0])
v.masked_fill(m, 2j)
torch.equal(z, z.clone())
v.nonzero()
z.view(torch.float32)
r.view(torch.complex64)
"""

PARTS = """
torch.complex(r, r * 2)
torch.complex(r, r.double())
torch.complex(i, i)
torch.polar(r, r.T)
z.real
z.imag
torch.real(r)
r.imag
z.conj()
torch.conj_physical(z)
z.clone().conj_physical_()
z.conj().resolve_conj()
r.conj()
z.angle()
torch.angle(torch.tensor([-1.0, 0.0, 2.0, float("nan")]))
z.abs()
torch.abs(v, out=torch.zeros(2))
z.abs_()
z.sgn()
torch.sgn(r)
torch.isreal(z)
torch.isreal(i)
torch.view_as_real(z)
torch.view_as_real(r)
torch.view_as_complex(r)
torch.view_as_complex(torch.ones(3))
torch.view_as_complex(torch.ones(3, 2, dtype=torch.int))
z.mH
z.H
torch.adjoint(z)
"""

ARITHMETIC = """
z + w
z - w
z * w
z / w
-z
z + 1
2 - z
z * 2j
1j * r
r.double() * 1j
i * 1j
i / (1 + 1j)
1 / z
1j / w
r + z
d * r
d[0] * r
z * d[0]
z ** 2
z ** 3
z ** 0.5
z ** -1
z ** 1j
z ** w
2 ** z
r ** 1j
z.square()
z.reciprocal()
z.add(w, alpha=2j)
z.sub(w, alpha=2)
z.clone().mul_(1j)
z.addcmul(w, w, value=0.5)
torch.addmm(z, z, w, beta=2j, alpha=0.5)
z == w
z == 0.25j
z != z
z.eq(-2)
z.isnan()
torch.tensor([complex("nan"), 1j, complex(0, float("inf"))]).isnan()
torch.tensor([complex("nan"), 1j, complex(0, float("inf"))]).isinf()
torch.tensor([complex("nan"), 1j, complex(0, float("inf"))]).isfinite()
torch.isclose(z, z + 1e-9)
torch.allclose(z, w)
torch.isclose(torch.tensor([complex("nan")]), torch.tensor([complex("nan")]), equal_nan=True)
z.logical_not()
z.logical_and(w)
"""

FUNCTIONS = (
    "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan asin acos atan sinh cosh tanh"
)
FUNCTIONS += " asinh acosh atanh sigmoid"

SUMS = """
z.sum()
z.sum(0)
z.sum(dtype=torch.float32)
r.sum(dtype=torch.complex64)
z.mean()
z.mean(1, keepdim=True)
z.mean(dtype=torch.float32)
z.prod()
z.prod(0)
z.cumsum(0)
z.cumprod(1)
z.var()
z.std(0)
torch.var_mean(z)
torch.std_mean(z, 1)
z.any()
z.all()
z.count_nonzero()
z.norm()
z.norm(1)
torch.linalg.vector_norm(z, 3, 0)
torch.dist(z, w)
z @ w
z @ v
v @ v
torch.mm(z, w)
torch.mv(z, v)
torch.bmm(z[None], w[None])
torch.dot(v, v)
torch.vdot(v, v * 1j)
torch.linalg.vecdot(z, w)
torch.outer(v, v)
torch.einsum("ij,jk->ik", z, w)
torch.trace(z)
z @ r
"""

REFUSED = """
z < w
z >= 1
z.max()
z.max(0)
z.amin()
z.argmax()
torch.maximum(z, w)
z.floor()
z.ceil()
z.trunc()
z.round()
z.clamp(0)
z.relu()
z.sort()
z.topk(1)
z.median()
z.unique()
z.sign()
z.signbit()
z.isneginf()
z.nansum()
z.nanmean()
z // 2
z % 2
torch.fmod(z, 2)
z & w
~z
z.erf()
z.atan2(w)
z.softmax(0)
z.cummax(0)
z.deg2rad()
v.bincount()
v.random_()
torch.nn.functional.dropout(z, 0.5)
"""

CASES = [DTYPES, CONVERSIONS, MOVES, PARTS, ARITHMETIC, SUMS, REFUSED]
LINES = [line for table in CASES for line in lines_of(table)]
LINES += [f"torch.{name}(z)" for name in FUNCTIONS.split()]


@pytest.mark.parametrize("line", LINES)
def test_lines(oracle: types.ModuleType, line: str) -> None:
    expected = outcome(oracle, PREPARATION, line, gradients=False)
    assert same(expected, outcome(lazyt, PREPARATION, line, gradients=False)), expected


IN_C = """
z * w + 1j
(z * r + w).abs().sum()
torch.exp(z.real) * z.imag + r
torch.view_as_real(z * w).sum(-1)
(r * 2 + 1).to(torch.complex64) @ w
torch.where(r > 0, z, w) == z
z.angle().cos() * r
"""


@needs_compiler
def test_the_c_tier_leaves_them_to_numpy(oracle: types.ModuleType, c_tier: None) -> None:
    for line in lines_of(IN_C):
        expected = outcome(oracle, PREPARATION, line, gradients=False)
        assert same(expected, outcome(lazyt, PREPARATION, line, gradients=False)), line


@pytest.mark.parametrize(
    "name, arg, shape",
    [("cumsum", (0,), (4, 4)), ("sum", ((0,), False), (4,)), ("add", (), (4, 4))],
)
def test_devices_leave_them_to_numpy(name: str, arg: tuple, shape: tuple[int, ...]) -> None:
    type = TensorType.of((4, 4), dtypes.complex64, "cuda:0")
    operands = tuple(Value(None, (), (), type, index=i) for i in range(1 if arg else 2))
    v = Value(REGISTRY[name], operands, arg, type.with_shape(shape))
    assert not has_template(v)
    assert not can(v)
    assert "NumPy computes it on the host" in no_kernel(v)


def test_complex_numbers_are_no_device() -> None:
    """The runtime takes entries of PLACING for a sign that there are devices."""
    lazyt.tensor([1j])
    assert [refuse] == REFUSING
    assert refuse not in PLACING


def test_numbers_that_change_keep_the_dtype() -> None:
    """From the second value on a number is a run-time scalar of the plan."""
    z = lazyt.tensor([1 + 2j, 3j])
    array = z.numpy().copy()
    for k in range(4):
        made = (z * (k + 0.5) + k) / (1 + k) * complex(k, 1)
        expected = (array * (k + 0.5) + k) / (1 + k) * complex(k, 1)
        assert made.numpy().dtype == np.complex64
        assert np.allclose(made.numpy(), expected)


def test_vmap(oracle: types.ModuleType) -> None:
    lines = (
        "torch.vmap(lambda a: a * a + 1j)(z)",
        "torch.vmap(lambda a: a.real.sum())(z)",
        "torch.vmap(lambda a: torch.complex(a, -a).abs())(r)",
    )
    for line in lines:
        expected = outcome(oracle, PREPARATION, line, gradients=False)
        assert same(expected, outcome(lazyt, PREPARATION, line, gradients=False)), line


def test_the_imaginary_part_is_dropped_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from lazyt.functions import numeric

    monkeypatch.setattr(numeric, "_WARNED", [])
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        assert lazyt.tensor([1 + 2j]).float().tolist() == [1.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lazyt.tensor([3 + 2j]).double().tolist() == [3.0]  # once, as in PyTorch


def test_files_both_ways(oracle: types.ModuleType) -> None:
    for writer, reader in ((lazyt, oracle), (oracle, lazyt)):
        file = io.BytesIO()
        made = [writer.tensor([[1j, 2 - 3j]]), writer.tensor(1 + 1j, dtype=writer.complex128)]
        writer.save(made, file)
        file.seek(0)
        for before, after in zip(made, reader.load(file), strict=True):
            assert str(before.dtype) == str(after.dtype)
            assert before.tolist() == after.tolist()


def test_memory_is_shared_with_numpy() -> None:
    array = np.array([1j, 2])
    x = lazyt.from_numpy(array)
    array[0] = 5
    assert x.tolist() == [5, 2]
    x[1] = 3j
    assert array.tolist() == [5, 3j]


def test_parts_are_copies_that_refuse_writes() -> None:
    z = lazyt.tensor([1 + 2j])
    for part in (z.real, z.imag, z.conj(), lazyt.view_as_real(z), z.real[:1], z.real.detach()):
        with pytest.raises(NotImplementedError, match="they are copies here"):
            part += 1
        with pytest.raises(NotImplementedError, match="they are copies here"):
            part[0] = 1
    assert (z.real + 1).tolist() == [2.0]


def test_gradients_are_refused() -> None:
    z = lazyt.tensor([1 + 2j])
    x = lazyt.ones(1, requires_grad=True)
    for refused in (
        lambda: z.requires_grad_(),
        lambda: lazyt.zeros(1, dtype=lazyt.complex64, requires_grad=True),
        lambda: x * z,
        lambda: x * 1j,
        lambda: lazyt.complex(x, x),
        lambda: x.to(lazyt.complex64),
        lambda: setattr(z, "requires_grad", True),
        lambda: lazyt.nn.Parameter(z),
        lambda: lazyt.func.grad(lambda a: a.abs().sum())(z),
        lambda: lazyt.nn.Linear(2, 2).to(lazyt.complex64),
    ):
        with pytest.raises(NotImplementedError, match="gradients through complex tensors"):
            refused()
    with lazyt.no_grad():
        assert (x * z).tolist() == [1 + 2j]
