"""How graphs of devices are grouped and written down; nothing runs, so no device is needed."""

from __future__ import annotations

import pytest
from graph_tools import tracing

from lazyt.codegen.grouping import loop_nests
from lazyt.codegen.numpy_calls import NumpyCode
from lazyt.codegen.source import generate
from lazyt.ir.dtypes import DType, bfloat16, float16, float32, int64
from lazyt.ir.graph import Graph
from lazyt.ir.node import Node, leaf
from lazyt.ir.opdef import REGISTRY
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_elementwise import add, cast, exp, mul, relu
from lazyt.ir.ops_shape import expand, permute, reshape
from lazyt.ir.parser import parse
from lazyt.ir.passes.fuse import Grouping
from lazyt.ir.passes.pipeline import optimize
from lazyt.ir.printer import text
from lazyt.ir.types import TensorType
from lazyt.runtime.plan import build_graph
from lazyt.state import data

GPU = "cuda:0"


def on_gpu(*shape: int, dtype: DType = float32) -> Node:
    """A realised value on a device; its memory is never looked at."""
    return leaf(data, object(), TensorType.of(shape, dtype, GPU))


def grouped(trace: list[Node], *results: Node) -> Grouping:
    """The nests of a program that returns some values."""
    leaves = [s for n in trace for s in n.src if s.__class__ is Node and s.value is not None]
    index: dict[int, int] = {}
    for s in leaves:
        index.setdefault(id(s.value), len(index))
    keep = tuple(sorted(trace.index(r) for r in results))
    graph, _ = build_graph(trace, keep, index, set())
    return loop_nests(optimize(graph)[0], native=False)


def calls(code: NumpyCode) -> list[str]:
    """The lines of a plan, without those that only get memory or drop names."""
    lines = [line.strip() for line in code.source.splitlines()[1:-1]]
    return [line for line in lines if not line.startswith("del ") and " = empty(" not in line]


def linear(dtype: DType = float32) -> tuple[list[Node], Node, Node]:
    with tracing() as trace:
        x, w, b = on_gpu(6, 4, dtype=dtype), on_gpu(4, 3, dtype=dtype), on_gpu(3, dtype=dtype)
        product = REGISTRY["matmul"](x, w)
        y = relu(add(product, b))
    return trace, product, y


def test_bias_and_activation_end_the_product() -> None:
    trace, _, y = linear()
    grouping = grouped(trace, y)
    (group,) = grouping.groups
    assert group.lead is not None and group.lead.op.name == "matmul"
    code = generate(grouping)
    assert calls(code) == ["g0(x0, x1, x2, x5)"]
    assert code.nests == [] and len(code.templates) == 1


def test_a_product_that_others_read_is_stored() -> None:
    trace, product, y = linear()
    grouping = grouped(trace, product, y)
    assert [g.lead for g in grouping.groups] == [None, None]
    assert "others read the product too" in {r.reason for r in grouping.refusals}
    assert calls(generate(grouping))[0].startswith("g0(x0, x1, x3)")


def test_a_reduction_waits_for_the_product() -> None:
    with tracing() as trace:
        product = REGISTRY["matmul"](on_gpu(6, 4), on_gpu(4, 3))
        total = REGISTRY["sum"](exp(product), arg=((1,), False))
    grouping = grouped(trace, total)
    assert "a reduction needs the whole product first" in {r.reason for r in grouping.refusals}
    assert all(g.lead is None for g in grouping.groups)


def test_what_reads_by_index_does_not_end_a_product() -> None:
    with tracing() as trace:
        product = REGISTRY["matmul"](on_gpu(6, 4), on_gpu(4, 3))
        turned = REGISTRY["roll"](on_gpu(6, 3), arg=((1, -1), (0, 1)))
        y = mul(product, turned)
    grouping = grouped(trace, y)
    assert any(r.reason.endswith("reads by index") for r in grouping.refusals)
    assert all(g.lead is None for g in grouping.groups)
    generate(grouping)


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_products_read_halves_as_they_are(dtype: DType) -> None:
    with tracing() as trace:
        w = permute(on_gpu(3, 4, dtype=dtype), (1, 0))
        product = REGISTRY["matmul"](on_gpu(6, 4, dtype=dtype), w)
    code = generate(grouped(trace, product))
    (kernel, *_), *_ = code.templates
    assert {"float16": "__half", "bfloat16": "__nv_bfloat16"}[dtype.name] in kernel.text
    assert not any("by_host" in line and "float32" in line for line in calls(code))


def test_what_has_no_kernel_is_computed_by_the_host() -> None:
    with tracing() as trace:
        y = REGISTRY["inverse"](on_gpu(4, 4))
    assert any(
        "by_host(" in line and "'cuda:0'" in line for line in calls(generate(grouped(trace, y)))
    )


def test_several_results_of_a_kernel_have_memory_of_their_own() -> None:
    with tracing() as trace:
        ordered = REGISTRY["sort"](permute(on_gpu(5, 4), (1, 0)), arg=(1, False))
        kept = [REGISTRY["copy"](REGISTRY["get"](ordered, arg=(i,))) for i in (0, 1)]
    code = generate(grouped(trace, *kept))
    assert "(empty((4, 5), 'float32', 'cuda:0'), empty((4, 5), 'int64', 'cuda:0'))" in code.source
    assert "g0(contiguous(x1), x2[0], x2[1])" in calls(code)
    assert "copied" not in code.source


def test_the_gradient_of_an_embedding_checks_its_indices_and_gathers() -> None:
    """Zeros to add to are not made, and nothing is copied."""
    with tracing() as trace:
        y = REGISTRY["row_put"](on_gpu(4, 50, 8), on_gpu(4, 50, dtype=int64), arg=(1000, None))
    code = generate(grouped(trace, y))
    assert [n[0].kernel.shape for n in code.nests] == [(4, 50)]
    ((kernel, *_),) = code.templates
    launched = [step.function.rpartition("_")[2] for step in kernel.launches]
    assert launched == ["runs", "gather"]
    assert "copied" not in code.source and "contiguous" not in code.source


def test_a_reshape_that_copies_is_a_kernel() -> None:
    with tracing() as trace:
        y = exp(reshape(permute(on_gpu(4, 3), (1, 0)), (12,)))
    code = generate(grouped(trace, y))
    assert [n[0].kernel.shape for n in code.nests] == [(3, 4), (12,)]


def test_constants_have_memory_only_where_it_is_read() -> None:
    with tracing() as trace:
        ones = REGISTRY["full"](1.0, arg=((2, 3), float32, GPU))
        y = mul(on_gpu(2, 3), expand(REGISTRY["full"](2.0, arg=((), float32, GPU)), (2, 3)))
    code = generate(grouped(trace, ones, y))
    assert len(code.nests) == 2 and not any("np.full" in line for line in calls(code))


def test_devices_do_not_share_a_nest() -> None:
    with tracing() as trace:
        x = on_gpu(8)
        here = exp(x)
        there = exp(transfer(x, "cuda:1"))
        back = add(transfer(there, GPU), here)
    grouping = grouped(trace, back)
    assert len([g for g in grouping.groups if g.kind == "loops"]) == 2
    assert {n[0].device for n in generate(grouping).nests} == {GPU, "cuda:1"}


def test_types_of_devices_print_and_parse() -> None:
    with tracing() as trace:
        y = cast(transfer(on_gpu(2, 3), "cuda:1"), float16)
    graph: Graph | None = grouped(trace, y).graph
    assert graph is not None
    assert "float16[2,3]@cuda:1" in text(graph)
    assert text(parse(text(graph))) == text(graph)
