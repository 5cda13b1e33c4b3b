"""Every module of PyTorch's own table, with its sample inputs, in lazyt and in PyTorch.

`torch.testing._internal.common_modules.module_db` is what PyTorch tests its modules with: for each
one the arguments to construct it and to call it, and calls that must fail. Here each sample runs in
both. From one seed, the initial state must agree, then results, gradients and buffers, in training
and in evaluation, for each dtype; so must `repr`, conversions, copies and pickles.

The tests take every third sample or so; all of them run with

    python tests/test_module_samples.py [name ...]
"""

from __future__ import annotations

import copy
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from sample_tools import (
    as_leaves,
    differences,
    each_tensor,
    ours,
    outcome,
    short,
    table,
    tensors_of,
)

import lazyt
import lazyt.nn

# What is not compared, and why.
ABSENT = {"CTCLoss": "lazyt has no CTC loss yet"}
REFUSED = {
    "complex64": "lazyt differentiates no complex numbers, and its layers take none",
    "complex128": "as complex64",
    "complex32": "lazyt has no such dtype",
}
COPIES = {"copy": copy.deepcopy, "pickle": lambda module: pickle.loads(pickle.dumps(module))}
DTYPES = ("float32", "float64", "float16", "bfloat16")


def infos() -> list[Any]:
    """The entries of the table, without those of modules that lazyt lacks."""
    return [info for info in table("common_modules").module_db if name_of(info) not in ABSENT]


def name_of(info: Any) -> str:
    return info.module_cls.__name__


def inputs_of(info: Any, dtype: Any, training: bool) -> list[Any]:
    """The samples of a module, always the same; those of a dtype that they cannot be made in are
    none."""
    import torch

    torch.manual_seed(0)
    options = {"device": "cpu", "dtype": dtype, "requires_grad": True, "training": training}
    made = outcome(lambda: list(info.module_inputs_func(info, **options)))
    assert not isinstance(made, Exception) or dtype not in info.dtypes
    return [] if isinstance(made, Exception) else made


class Sample:
    """A sample input of a module, and the module made of it in both libraries."""

    def __init__(self, info: Any, sample: Any, dtype: Any, training: bool) -> None:
        import torch

        self.info, self.sample, self.dtype, self.training = info, sample, dtype, training
        self.forward = sample.forward_input
        given = sample.constructor_input
        mine = getattr(lazyt.nn, name_of(info))
        self.theirs = _made(torch, info.module_cls, given.args, given.kwargs)
        self.mine = _made(lazyt, mine, *ours((tuple(given.args), dict(given.kwargs))))

    def __str__(self) -> str:
        given = self.sample.constructor_input
        text = f"{given.args} {given.kwargs}".replace("\n", "")[:100]
        mode = "training" if self.training else "evaluation"
        return f"{name_of(self.info)} {short(self.dtype)} {mode} {self.sample.desc} {text}"

    def differences(self) -> list[str]:
        """How what the module does in lazyt differs."""
        import torch

        theirs, mine = self.theirs, self.mine
        if isinstance(theirs, Exception) or isinstance(mine, Exception):
            return differences(theirs, mine, "constructor")
        found = differences(repr(theirs), repr(mine), "repr")
        if not self.info.is_lazy:
            found += differences(dict(theirs.state_dict()), dict(mine.state_dict()), "first state")
        theirs.to(self.dtype).train(self.training)
        mine.to(ours(self.dtype)).train(self.training)
        given = as_leaves((self.forward.args, dict(self.forward.kwargs)))
        own = ours(given)
        exact = _in_double(theirs, given) if self.dtype.itemsize == 2 else {}
        # Made before the module has run: an uninitialized one may lose its dtype, as in PyTorch.
        copies = {how: (make(theirs), make(mine)) for how, make in COPIES.items()}
        expected, actual = run(torch, theirs, *given), run(lazyt, mine, *own)
        found += _compared(expected, actual, exact)
        for how, (their_copy, my_copy) in copies.items():
            if self.info.is_lazy:
                expected, actual = run(torch, their_copy, *given), {}
            other = run(lazyt, my_copy, *own)
            found += [f"{how} {text}" for text in _compared(actual or expected, other, exact)]
        return found


def _made(m: Any, cls: Any, args: Any, kwargs: Any) -> Any:
    m.manual_seed(0)
    return outcome(lambda: cls(*args, **kwargs))


def _compared(expected: dict, actual: dict, exact: dict) -> list[str]:
    if len(expected) < 3 or len(actual) < 3:
        return differences(expected["result"], actual["result"], "result")
    return [
        text
        for part in expected
        for text in differences(
            # Each parameter stands for a step that rounds; at a ReLU that decides which side it is.
            expected[part],
            actual[part],
            part,
            exact.get(part),
            len(expected["state"]) if exact else 1,
        )
    ]


def run(m: Any, module: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The results of a call, the gradients of inputs and parameters for fixed cotangents, and the
    state after them; only the error of a call that fails."""
    m.manual_seed(1)
    result = outcome(lambda: module(*args, **kwargs))
    if isinstance(result, Exception):
        return {"result": result}
    outputs = [t for t in tensors_of(result) if t.requires_grad]
    inputs = {id(t): t for t in tensors_of((args, kwargs)) if t.requires_grad}
    leaves = [*inputs.values(), *module.parameters()]
    seeds = [m.linspace(-1, 2, t.numel(), dtype=m.float64).reshape(t.shape) for t in outputs]
    seeds = [seed.to(t.dtype) for seed, t in zip(seeds, outputs, strict=True)]
    gradients = None
    if outputs and leaves:
        gradients = outcome(lambda: m.autograd.grad(outputs, leaves, seeds, allow_unused=True))
    return {"result": result, "gradients": gradients, "state": dict(module.state_dict())}


def _in_double(module: Any, given: Any) -> dict[str, Any]:
    """What PyTorch finds in float64: the judge between two roundings to a half type."""
    import torch

    def double(tensor: Any) -> Any:
        if not tensor.is_floating_point():
            return tensor
        return tensor.detach().double().requires_grad_(tensor.requires_grad)

    return run(torch, copy.deepcopy(module).double(), *each_tensor(double, given))


def samples(chosen: Callable[[int], bool], names: list[str]) -> Iterator[Sample]:
    """Samples of all modules or of those named, each dtype and mode; `chosen` says which of each
    module, counted through."""
    import torch

    for info in infos():
        if names and name_of(info) not in names:
            continue
        count = 0
        for dtype in (getattr(torch, name) for name in DTYPES):
            for training in (True, False):
                for sample in inputs_of(info, dtype, training):
                    if chosen(count):
                        yield Sample(info, sample, dtype, training)
                    count += 1


def report(found: Iterator[Sample]) -> list[str]:
    return [f"{sample}: {text}" for sample in found for text in sample.differences()]


FEW = 2
STEP = 89


def test_every_module_does_what_pytorchs_does(oracle):
    chosen = lambda count: count < FEW or count % STEP == 0
    assert report(samples(chosen, [])) == []


def test_errors_are_pytorchs(oracle):
    found, count = [], 0
    errors = table("common_modules").ModuleErrorEnum
    for info in infos():
        if info.module_error_inputs_func is None:
            continue
        for dtype in (oracle.float32, oracle.float64):
            options = {"device": "cpu", "dtype": dtype, "requires_grad": False, "training": True}
            for error in info.module_error_inputs_func(info, **options):
                sample = Sample(info, error.module_error_input, dtype, True)
                count += 1
                if error.error_on is errors.CONSTRUCTION_ERROR:
                    text = differences(sample.theirs, sample.mine)
                else:
                    sample.theirs.to(dtype)
                    sample.mine.to(ours(dtype))
                    given = (sample.forward.args, dict(sample.forward.kwargs))
                    text = differences(
                        run(oracle, sample.theirs, *given)["result"],
                        run(lazyt, sample.mine, *ours(given))["result"],
                    )
                found += [f"{sample}: {t}" for t in text]
    assert found == [] and count > 30


def test_modules_are_made_in_a_dtype_and_moved_to_others(oracle):
    found = []
    for info in infos():
        sample = inputs_of(info, oracle.float32, True)[0]
        for name in ("float64", "bfloat16"):
            made = Sample(info, sample, oracle.float32, True)
            made.theirs.to(getattr(oracle, name))
            made.mine.to(getattr(lazyt, name))
            if not info.is_lazy:
                moved = (dict(module.state_dict()) for module in (made.theirs, made.mine))
                found += [f"{made}: {text}" for text in differences(*moved)]
            given = sample.constructor_input
            outcomes = []
            for m, cls in ((oracle, info.module_cls), (lazyt, getattr(lazyt.nn, name_of(info)))):
                args, kwargs = given.args, dict(given.kwargs, dtype=getattr(oracle, name))
                if m is lazyt:
                    args, kwargs = ours((args, kwargs))
                module = _made(m, cls, args, kwargs)
                lazy = info.is_lazy or isinstance(module, Exception)
                outcomes.append(module if lazy else dict(module.state_dict()))
            if info.is_lazy or all(isinstance(one, Exception) for one in outcomes):
                continue  # that it takes no dtype, Python says in words of its own
            found += [f"{made} of {name}: {text}" for text in differences(*outcomes)]
    assert found == []


def test_the_list_of_what_is_absent_is_true(oracle):
    assert not [name for name in ABSENT if hasattr(lazyt.nn, name)]
    dtypes = {short(dtype) for info in infos() for dtype in info.dtypes}
    assert dtypes <= {*DTYPES, *REFUSED}


def main(names: list[str]) -> None:
    import torch

    torch.set_num_threads(1)
    for info in infos():
        if names and name_of(info) not in names:
            continue
        start, count, last = time.time(), 0, ""
        for sample in samples(lambda count: True, [name_of(info)]):
            count += 1
            for text in sample.differences():
                line = f"{sample}: {text}"
                print(line[:300] if text != last else f"  and {sample}"[:100], flush=True)
                last = text
        print(f"{name_of(info)}: {count} samples, {time.time() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
