"""PyTorch's table of operations and their sample inputs, each run on both libraries.

Here two samples of each operation run, in float32 and in one other dtype, and all inputs that are
errors. All samples, dtypes and variants: `python tests/op_samples.py` (half an hour); with
`LAZYT_CPU=c LAZYT_PLANS=first` before it on the C tier.
"""

from __future__ import annotations

import importlib.util
import types

import pytest
from c_tier import needs_compiler
from harness import load
from op_outcomes import Known, unexplained
from op_samples import Samples
from surface import lines_of, outcome, same

SHARES = 16
HALVES, FLOATS = "float16|bfloat16", "float.*|bfloat16"
KNOWN = (
    Known("a(cos|sin|tan)h", "inplace", "accepts", FLOATS, "PyTorch has no derivative for these"),
    Known("addbmm", "inplace", "refuses", ".*", "PyTorch resizes what it writes into"),
    Known("as_strided.*", ".*", "refuses", FLOATS, "of a leaf that is a view, beyond its elements"),
    Known("narrow_copy", "errors", "error type", "", "IndexError, as for narrow"),
    Known("narrow_copy", "out", "values", ".*", "PyTorch fills `out` as if it were row-major"),
    Known("matmul", "out", "accepts", ".*", "PyTorch refuses an `out` in another order"),
    Known("normal.*", "out", "accepts", FLOATS, "PyTorch does not resize `out`"),
    Known("linalg.matrix_power", "out", ".*", ".*", "PyTorch checks `out` for some powers only"),
    Known(
        "(linalg.)?(vector_)?norm.*", ".*", "result", FLOATS, "p=0: PyTorch has no gradient, not 0"
    ),
    Known("linalg.pinv.hermitian", ".*", "values", FLOATS, "the gradient is not that of eigh"),
    Known("matrix_exp", ".*", "values", HALVES, "computed in float32; PyTorch overflows"),
    Known("histc", ".*", "values", HALVES, "the places of elements are computed in float32"),
    Known("nextafter", ".*", ".*", HALVES, "is not there for half types"),
    Known("all|any", "out", "values", FLOATS, "PyTorch looks at elements converted to uint8"),
    Known("mean", "out", "refuses", "complex64", "PyTorch drops the imaginary parts"),
    Known("std|var", "out", "accepts", HALVES, "PyTorch refuses an `out` of float64"),
    Known("round.*", "aliases", "accepts", ".*int.*", "PyTorch's special.round refuses integers"),
    Known("(arg|m)?sort", ".*", "values", ".*", "equal elements stay in order, stable or not"),
    Known("einsum", ".*", "dtype", ".*int.*", "PyTorch sums integers of one operand up in int64"),
    Known("amax|amin|aminmax", "errors", "error type", "", "NumPy has 64 dimensions at most"),
    Known("__r.*__", "errors", ".*", "", "called on numbers, as nobody does"),
)

# What differed once and is no sample of the rule below.
PREPARATION = """
x = torch.tensor([[3.0, 1.0, 2.0], [1.0, 4.0, 0.5], [-2.0, 0.5, 5.0]], requires_grad=True)
y = x.detach().clone()
one = torch.eye(3, requires_grad=True)
v = torch.tensor(2.5, requires_grad=True)
i = torch.tensor([2, 0, 2])
u = torch.full((3, 300), 7, dtype=torch.uint8)
b = torch.tensor([[True, False], [True, True]])
turned = torch.zeros(5, 4).t()
"""
MENDED = """
u.sum(1, dtype=torch.uint8)
u.sum(dtype=torch.int8)
torch.addbmm(u[:, :3], u[:, :9].reshape(3, 3, 3), u[:, :9].reshape(3, 3, 3))
torch.addr(b, b[0], b[1], beta=3, alpha=2)
torch.arange(0.0, -8.1, -4.0, dtype=torch.int32)
torch.arange(0.5, 4, 1.5, dtype=torch.int16)
torch.arange(0, 1, 0.5, dtype=torch.int32)
torch.linspace(-4.7, 9.9, 4, dtype=torch.int8)
torch.linspace(-1000, 1000, 3, dtype=torch.int8)
torch.linspace(0, 1, 3, dtype=torch.bool)
torch.linspace(1.5j, 4, 3, dtype=torch.complex64)
torch.logspace(1.7, 3.9, 5, dtype=torch.int16)
torch.logspace(1.7, 3.9, 5, dtype=torch.float16)
torch.linalg.norm(one, "nuc")
x.index_fill(0, i, v)
x.masked_scatter(torch.tensor(False), x * 2)
torch.linalg.pinv(y, hermitian=True)
torch.linalg.matrix_rank(y.triu(1), hermitian=True)
torch.linalg.matrix_rank(torch.stack([y, y]), rtol=torch.tensor([0.1, 0.9]))
torch.linalg.matrix_power(x, 0)
torch.linalg.lstsq(x, x * 2)
(x * 1).erfc_()
torch.randn(4, 5, out=turned)
torch.rand(4, 5, out=turned)
torch.normal(torch.ones(4, 5), 2.0, out=turned)
torch.bernoulli(torch.full((4, 5), 0.5), out=turned)
torch.bernoulli(torch.full((4,), 0.5), out=torch.zeros(4, dtype=torch.uint8))
torch.normal(x, v)
torch.multinomial(y.abs(), 2, out=torch.zeros(0))
torch.gather(y, 0, torch.zeros(3, 3, dtype=torch.long), out=y)
torch.take(y, i, out=y)
torch.index_select(y, 0, i, out=y)
torch.masked_select(y, y > 0, out=y)
torch.cat([y, y], out=y)
torch.isclose(y, y, rtol=-0.5)
torch.lerp(y, y, y, out=torch.zeros(3, 3, dtype=torch.float64))
torch.narrow_copy(y, 0, 1, 2, out=torch.zeros(0))
torch.slice_scatter(y, y[:1], out=torch.zeros(0))
torch.linalg.multi_dot([y, y], out=torch.zeros(0, dtype=torch.float64))
torch.nansum(y, out=torch.tensor(0))
torch.cdist(y.half(), y.half())
torch.rsub(2, y)
torch.bucketize(b, b[0])
torch.hsplit(y, "abc")
torch.tril_indices(2, 2, dtype=torch.float32)
torch.special.expit(x)
torch.special.softmax(x, 0)
"""


@pytest.mark.parametrize("line", lines_of(MENDED))
def test_what_differed_once(line: str, oracle: types.ModuleType) -> None:
    expected, actual = (outcome(t, PREPARATION, line) for t in (oracle, load("lazyt")))
    if expected[0] == actual[0] == "error":
        expected, actual = expected[:2], actual[:2]
    assert same(expected, actual), f"{expected}\n{actual}"


@needs_compiler
def test_no_integer_is_infinite_on_the_c_tier(c_tier: None) -> None:
    torch = load("lazyt")
    for values in ([1, 0], [True, False]):
        x = torch.tensor(values)
        assert not (torch.isposinf(x) | torch.isneginf(x)).any()


@pytest.fixture(scope="module")
def samples(oracle: types.ModuleType):
    if importlib.util.find_spec("expecttest") is None:
        pytest.skip("PyTorch's tests need expecttest: pip install lazyt[oracle]")
    return Samples(oracle, load("lazyt"))


@pytest.mark.parametrize("share", range(SHARES))
def test_operations_do_what_pytorch_does(samples, share: int) -> None:
    operations = [op for op in samples.table if not op.name.startswith("nn.functional.")]
    differences = unexplained(samples.of_share(operations, share, SHARES), KNOWN)
    assert not differences, "\n".join(map(str, differences))
