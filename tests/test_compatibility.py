"""Modules that public programs import and hardly use: jit, compile, distributed, hub, onnx.

model = torch.jit.script(model)      # the same model, and a warning
"""

from __future__ import annotations

import types

import pytest

import lazyt as torch


def test_compile_gives_its_function_back() -> None:
    def step(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    assert torch.compile(step) is step
    assert torch.compile(mode="max-autotune", fullgraph=True)(step) is step
    model = torch.nn.Linear(2, 2)
    assert torch.compile(model, backend="eager", dynamic=False) is model


def test_compile_refuses_mode_and_options(oracle: types.ModuleType) -> None:
    with pytest.raises(RuntimeError) as expected:
        oracle.compile(lambda x: x, mode="default", options={"a": 1})
    with pytest.raises(RuntimeError) as found:
        torch.compile(lambda x: x, mode="default", options={"a": 1})
    assert str(found.value) == str(expected.value)


def test_script_and_trace_say_that_they_do_nothing() -> None:
    model, calls = torch.nn.ReLU(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.warns(UserWarning, match="torch.jit.script returns what it is given"):
        assert torch.jit.script(model) is model
    with pytest.warns(UserWarning, match="torch.jit.trace returns what it is given"):
        assert torch.jit.trace(model, torch.ones(2)) is model
    assert calls == [1]


def test_decorators_of_jit() -> None:
    def plain() -> int:
        return 3

    assert torch.jit.ignore(plain) is plain
    assert torch.jit.ignore(drop=True)(plain) is plain
    assert torch.jit.unused(plain) is plain
    assert torch.jit.export(plain) is plain
    assert torch.jit._overload_method(plain) is plain
    assert not torch.jit.is_scripting()
    assert not torch.jit.is_tracing()


MISSING = {
    "torch.jit.save(None, 'x.pt')": "torch.save",
    "torch.jit.load('x.pt')": "torch.load",
    "torch.hub.load('pytorch/vision', 'resnet18')": "downloads code",
    "torch.hub.load_state_dict_from_url('https://x.org/a.pt')": "https://x.org/a.pt",
    "torch.onnx.export(None, None, 'x.onnx')": "torch.onnx.export is not here",
    "torch.distributed.init_process_group('gloo')": "a program runs in one process",
}


@pytest.mark.parametrize("line", MISSING)
def test_what_is_not_here_says_what_to_do(line: str) -> None:
    with pytest.raises(RuntimeError, match=MISSING[line]):
        eval(line, {"torch": torch})


GROUPLESS = """
torch.distributed.is_initialized()
torch.distributed.get_rank()
torch.distributed.get_world_size()
torch.distributed.all_reduce(torch.ones(1))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 3), device_ids=[0])
"""


@pytest.mark.parametrize("line", GROUPLESS.split("\n")[1:-1])
def test_distributed_answers_as_without_a_group(line: str, oracle: types.ModuleType) -> None:
    def said(module: types.ModuleType) -> tuple:
        try:
            return ("value", eval(line, {"torch": module}))
        except Exception as error:
            return (type(error).__name__, str(error))

    assert said(torch) == said(oracle)


def test_small_names() -> None:
    x = torch.ones(2)
    assert not torch.is_complex(x)
    assert not x.is_xpu
    assert torch._C._LinAlgError is torch.linalg.LinAlgError
    assert torch.functional.einsum is torch.einsum
    assert torch.functional.relu is torch.relu
    assert not torch.distributed.is_available()
    assert not torch.onnx.is_in_onnx_export()
    assert torch.cuda.FloatTensor.__name__ == "FloatTensor"
    torch._assert(x.sum() == 2, "two")
    with pytest.raises(AssertionError, match="two"):
        torch._assert(x.sum() == 3, "two")


PER_ELEMENT = """
torch.tensor([[0.2, 0.7], [3, 4]]).apply_(lambda v: 0 if v < 0.5 else 1)
torch.tensor([1, 2]).apply_(lambda v: v + 0.7)
torch.tensor([True, False]).apply_(lambda v: not v)
torch.arange(4).reshape(2, 2).t().apply_(lambda v, c=[]: c.append(v) or len(c))
torch.tensor([1.0, 2]).map_(torch.tensor([3.0, 4]), lambda a, b: a * b)
torch.tensor([1.0, 2]).map_(torch.tensor(3.0), lambda a, b: a * b)
torch.tensor([1.0, 2]).map_(torch.tensor([3, 4]), lambda a, b: a * b)
torch.ones(2, requires_grad=True).apply_(lambda v: v)
torch.ones(2).map_(torch.ones(2, requires_grad=True), lambda a, b: a * b)
torch.ones(2).apply_(lambda v: v / 0)
torch.ones(2).apply_(3)
torch.ones(2).apply_(lambda v: v)._version
"""


@pytest.mark.parametrize("line", PER_ELEMENT.split("\n")[1:-1])
def test_python_functions_of_every_element(line: str, oracle: types.ModuleType) -> None:
    def said(module: types.ModuleType) -> tuple:
        try:
            value = eval(line, {"torch": module})
        except Exception as error:
            return (type(error).__name__, str(error))
        return (str(value), str(getattr(value, "dtype", "")))

    assert said(torch) == said(oracle)
