"""Results and gradients are where the operands are: of every public function, of every primitive,
and of the lines that other tests compare with PyTorch.

Nothing is computed here; test_devices_read.py tries what has to look at values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import derivatives
import numpy as np
import pytest
import test_attention
import test_functional
import test_indexing
import test_joining
import test_linalg
import test_nn
import test_primitives
import test_recurrent
import test_reductions
from devices import GPU, Unreadable, devices_of, on_gpu, pretended_gpus
from surface import lines_of

import lazyt as torch
from lazyt import nn
from lazyt.exports import data
from lazyt.ir import dtypes
from lazyt.ir.autodiff import differentiate
from lazyt.ir.node import LOCAL, Node, leaf
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_constant import full
from lazyt.ir.types import TensorType
from lazyt.nn import functional as F
from lazyt.registry import FUNCTIONS


@pytest.fixture(autouse=True)
def _gpus():
    with pretended_gpus(2):
        yield


# --- every public function ------------------------------------------------------------------------

# Positional arguments, one of which most functions take; the first that one takes on the CPU is
# tried on a GPU. `x`, `i` and `b` make float, integer and boolean tensors.
ARGUMENTS = """
x(3, 3)
x(3)
b(3, 3)
i(3)
i(3, 3)
x(3, 3), x(3, 3)
x(3), x(3)
b(3), b(3)
i(3), i(3) + 1
x(3, 3), x(3)
x(3, 3), 1
i(3, 3), 1
x(3, 3), 0.5
x(3, 3), (3, 3)
[x(3, 3), x(3, 3)]
x(3, 3), x(3, 3), x(3, 3)
x(3), x(3), x(3)
x(2, 3, 3), x(2, 3, 3)
x(2, 3, 3), x(2, 3, 3), x(2, 3, 3)
x(3, 3), x(2, 3, 3), x(2, 3, 3)
x(3), x(3, 3), x(3)
x(3, 3), 0, i(3)
x(3, 3), 0, i(3, 3)
x(3, 3), b(3, 3)
x(3, 3), b(3, 3), 1.0
x(3, 3), b(3, 3), x(9)
b(3, 3), x(3, 3), x(3, 3)
x(3, 3), 0, i(3), x(3, 3)
x(3, 3), 0, i(3, 3), x(3, 3)
x(3, 3), 0, i(3), 1.0
x(3, 3), 0, i(3, 3), x(3, 3), "sum"
x(3, 3), 0, i(3), x(3, 3), "amax"
x(3, 3), (i(3),), x(3)
x(9), i(3)
x(9), i(3), x(3)
x(3, 3), 1, 0
x(3, 3), 0, 1
x(3, 3), 0, 0, 1
x(3, 3), x(3), 0, 1
x(3, 3), 2, 0, 1
x(3, 4), 1, (2, 2)
x(3, 3), [0]
x(3, 3), (0, 1)
x(3, 3), (0, 1), (1, 0)
x(3, 3), (1, 3), (3, 1)
3
(3, 3), 1.0
0, 5, 3
3, 3
5, (3,)
x(3, 3), 5
0.0, 1.0, (3,)
[1.0, 2.0]
x(1, 2, 8, 8), x(3, 2, 3, 3)
x(1, 2, 8), x(3, 2, 3)
x(1, 2, 8, 8, 8), x(3, 2, 3, 3, 3)
x(1, 3, 8, 8), x(3, 2, 3, 3)
x(1, 3, 8), x(3, 2, 3)
x(1, 3, 8, 8, 8), x(3, 2, 3, 3, 3)
x(1, 2, 8, 8), 2
x(1, 2, 8), 2
x(1, 2, 8, 8, 8), 2
x(3, 3), 2, 1
"i,j->ij", x(3), x(3)
x(2, 3), x(2, 3), x(2, 3), x(3, 3)
x(2, 3), (3,)
x(2, 4, 3), 2
x(3, 3), 0.5, True
x(3, 3), 3, 0.0, 1.0
x(3, 3), 2, 0, 1.0
"""
MAKERS = {
    "x": lambda *shape: torch.rand(*shape) * 0.8 + 0.1,
    "i": lambda *shape: torch.zeros(*shape, dtype=torch.int64),
    "b": lambda *shape: torch.ones(*shape, dtype=torch.bool),
}
# What gives no tensor, or one of memory of others.
WITHOUT_TENSORS = {
    "allclose", "equal", "from_numpy", "frombuffer", "Generator", "get_rng_state", "initial_seed",
    "is_conj", "is_neg", "is_nonzero", "is_same_size", "manual_seed", "numel", "seed",
    "set_default_tensor_type", "set_rng_state",
}  # fmt: skip
# Lines for functions that another line of ARGUMENTS fits, but not to the point.
CHOSEN = {
    "as_strided": "x(3, 3), (1, 3), (3, 1)",
    "as_strided_": "x(3, 3), (1, 3), (3, 1)",
    "hsplit": "x(3, 3), 3",
    "vsplit": "x(3, 3), 3",
    "tensor_split": "x(3, 3), 3",
    "quantile": "x(3, 3), 0.5",
    "nanquantile": "x(3, 3), 0.5",
    "embedding": "x(3, 3), i(3)",
    "affine_grid_generator": "x(1, 2, 3), (1, 1, 4, 4), False",
    "grid_sampler": "x(1, 2, 4, 4), x(1, 3, 3, 2), 0, 0, False",
    "conv_tbc": "x(5, 2, 3), x(3, 3, 4), x(4)",
    "cosine_embedding_loss": "x(2, 3), x(2, 3), x(2)",
    "poisson_nll_loss": "x(3), x(3), True, False, 1e-8, 1",
    "imag": "torch.complex(x(3), x(3))",
    "view_as_complex": "x(3, 2)",
    "view_as_real": "torch.complex(x(3), x(3))",
    "where": "b(3, 3), x(3, 3), x(3, 3)",
    "cholesky": "torch.eye(3)",
    "inverse": "torch.eye(3)",
    "tile": "x(3, 3), (2, 1)",
    "batch_norm": "x(2, 3), x(3), x(3), x(3), x(3), True",
}
for _name, _gates, _hidden in (
    ("rnn_tanh", 1, "x(1, 2, 3)"),
    ("rnn_relu", 1, "x(1, 2, 3)"),
    ("gru", 3, "x(1, 2, 3)"),
    ("lstm", 4, "(x(1, 2, 3), x(1, 2, 3))"),
):
    _weights = f"x({3 * _gates}, 4), x({3 * _gates}, 3)"
    _options = "False, 1, 0.0, False, False, False"
    CHOSEN[_name] = f"x(5, 2, 4), {_hidden}, [{_weights}], {_options}"
    CHOSEN[f"{_name}_cell"] = f"x(2, 4), {_hidden.replace('1, ', '')}, {_weights}"
# What looks at values before it says what it makes.
READS = {
    "argwhere", "bincount", "masked_scatter", "masked_scatter_", "masked_select", "multinomial",
    "nonzero", "repeat_interleave", "unique", "unique_consecutive",
}  # fmt: skip


def call(name: str, line: str) -> Any:
    return FUNCTIONS[name](*eval(f"({line},)", {**MAKERS, "torch": torch}))


def arguments_of(name: str) -> str | None:
    for line in [CHOSEN[name]] if name in CHOSEN else lines_of(ARGUMENTS):
        torch.manual_seed(0)
        try:
            if devices_of(call(name, line)):
                return line
        except Exception:  # not this function's arguments
            continue
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - WITHOUT_TENSORS))
def test_results_are_where_the_operands_are(name: str) -> None:
    line = arguments_of(name)
    assert line is not None, f"no line of ARGUMENTS fits {name}"
    torch.manual_seed(0)
    if name in READS:
        with pytest.raises(Unreadable):
            on_gpu(lambda: call(name, line))
    else:
        assert devices_of(on_gpu(lambda: call(name, line))) == GPU


# --- every primitive ------------------------------------------------------------------------------


def placed(value: Any, dtype: dtypes.DType) -> Any:
    """A node without a value for an operand of a sample, on the GPU."""
    if not isinstance(value, np.ndarray):
        return value
    kind = dtype if value.dtype == dtype.numpy else dtypes.from_numpy(value.dtype)
    node = leaf(data, None, TensorType.of(value.shape, kind, "cuda:0"))
    node.grad = int(kind.is_floating_point)
    return node


@pytest.mark.parametrize("name", test_primitives.NAMES)
def test_primitives_and_their_derivatives_stay_on_the_device(name: str) -> None:
    op = REGISTRY[name]
    for sample in test_primitives.cases(name):
        if sample.dtype is not dtypes.float32:
            continue
        operands = [placed(x, sample.dtype) for x in sample.operands]
        arg = (*sample.arg[:2], "cuda:0") if op.kind == "constant" else sample.arg
        node = op(*operands, arg=("cuda:0",) if op.kind == "transfer" else arg)
        types = node.type if isinstance(node.type, tuple) else (node.type,)
        assert all(t.device == "cuda:0" for t in types)
        if node.grad and node.type is types[0] and types[0].dtype.is_floating_point:
            inputs = [x for x in operands if isinstance(x, Node) and x.grad]
            seeds = [full(types[0].shape, 1, types[0].dtype, "cuda:0")]
            found = differentiate([node], seeds, retain=True, create=True, inputs=inputs)
            assert all(g.type.device == "cuda:0" for g in found if g is not None)
        LOCAL.trace.clear()


# --- the tables of the other tests ----------------------------------------------------------------


def derived(result: Any, leaves: list, twice: bool) -> list:
    """First, and with `twice` second, gradients of a result, where it has any."""
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    found = []
    for r in results:
        if isinstance(r, torch.Tensor) and r.requires_grad:
            total = (r * torch.ones_like(r)).sum()
            options = {"allow_unused": True, "create_graph": twice}
            first = torch.autograd.grad(total, leaves, **options)
            found.append([g for g in first if g is not None])
            again = [(g * g).sum() for g in found[-1] if twice and g.requires_grad]
            if again:
                second = torch.autograd.grad(sum(again[1:], again[0]), leaves, allow_unused=True)
                found.append([g for g in second if g is not None])
    return found


def outcome(line: str, prepare: Callable[[], dict[str, Any]], twice: bool) -> Any:
    """The devices of what a line gives and of its gradients, or its error."""
    try:
        names = prepare()
        try:
            code = compile(line, "<line>", "eval")
        except SyntaxError:
            exec(line, names)
            result = names["x"]
        else:
            result = eval(code, names)
        leaves = [v for v in names.values() if isinstance(v, torch.Tensor) and v.is_leaf]
        leaves = [v for v in leaves if v.requires_grad]
        return devices_of([result, *derived(result, leaves, twice)])
    except Unreadable:
        return "reads"
    except Exception as error:
        text = str(error).split("\n")[0].replace("torch.cuda.", "torch.")
        return type(error).__name__, text


def prepared(preparation: str) -> Callable[[], dict[str, Any]]:
    def names() -> dict[str, Any]:
        made: dict[str, Any] = {"torch": torch, "np": np, "F": F, "nn": nn, "math": math}
        exec(preparation, made)
        return made

    return names


def functional_names(c: test_functional.Case) -> dict[str, Any]:
    made: dict[str, Any] = {"torch": torch, "F": F}
    made |= {k: (torch.rand(*s) + 0.1).requires_grad_() for k, s in c.shapes.items()}
    for name, values in c.arrays.items():
        floats = np.asarray(values).dtype.kind == "f"
        kind = torch.float32 if floats else torch.int64
        made[name] = torch.tensor(np.asarray(values).tolist(), dtype=kind)
    return made


def of_table(table: str, names: Callable[[], dict[str, Any]], twice: bool = False) -> list[tuple]:
    return [(line, names, twice) for line in lines_of(table)]


def tables() -> dict[str, list[tuple]]:
    """Lines with what makes their names, and whether to differentiate twice."""
    indexing, joining = (prepared(m.PREPARATION) for m in (test_indexing, test_joining))
    several = lambda: derivatives.operands(torch)
    return {
        "reads": of_table(test_indexing.READS, indexing),
        "writes": of_table(test_indexing.WRITES, indexing),
        "indexing functions": of_table(test_indexing.FUNCTIONS, indexing),
        "joining": of_table(test_joining.LINES, joining),
        "reductions": of_table(test_reductions.TWICE, several, True),
        "norms": of_table(test_reductions.ONCE, several),
        "products": of_table(test_linalg.TWICE, several, True),
        "distances": of_table(test_linalg.ONCE, several),
        "modules": [(t, prepared(""), False) for t in test_nn.LAYERS],
        "forward": [(t, prepared(""), False) for t in test_nn.FORWARD],
        "recurrent": [
            (f"{t}(torch.rand(4, 2, 3))", prepared(""), False) for t in test_recurrent.LAYERS
        ],
        "attention": [
            (t, prepared(test_attention.OPERANDS), False) for t in test_attention.DOT_PRODUCTS
        ],
        "transformers": [
            (f"{t}(torch.rand(4, 2, 8))", prepared(""), False) for t in test_attention.ENCODERS
        ],
        "initial values": [
            (t, prepared("w = torch.zeros(5, 20)"), False) for t in test_nn.INITIALS
        ],
        "nn.functional": [
            (c.text, lambda c=c: functional_names(c), c.second) for c in test_functional.CASES
        ],
    }


TABLES = tables()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("table", TABLES)
def test_tables_of_other_tests(table: str) -> None:
    """Every line gives tensors and gradients on the GPU, or the error that it gives on the CPU."""
    wrong, reads = wrong_lines(TABLES[table])
    assert not wrong, "\n".join(map(str, wrong))
    assert reads < len(TABLES[table]) / 2


def wrong_lines(lines: list[tuple]) -> tuple[list[tuple], int]:
    """Lines whose results are not where they belong, and how many could not be tried without
    computing."""
    wrong, reads = [], 0
    for line, names, twice in lines:
        torch.manual_seed(0)
        with torch.device("cuda"):
            got = outcome(line, names, twice)
        if got == "reads":
            reads += 1
        elif got not in (GPU, set()):
            torch.manual_seed(0)
            if isinstance(got, set) or got != outcome(line, names, twice):
                wrong.append((line, got))
    return wrong, reads
