"""PyTorch's own table of operations, `op_db`, run on lazyt.

PyTorch's tests describe every operation by sample inputs, inputs that are errors, variants and the
dtypes it takes. Here each sample is given to both libraries, and what they do is compared: values,
dtype, shape, requires_grad, gradients, the in-place and method variants and aliases, `out=`, and
which error is raised. As a program it prints what differs:

    python tests/op_samples.py                          every operation but nn.functional
    python tests/op_samples.py --op "^sum$" --dtype float32 --part forward out
    python tests/op_samples.py --op "^nn.functional" --first 5 --verbose

An operation runs in every dtype; where PyTorch refuses one, so must lazyt.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from op_outcomes import Difference, Reader, difference, unexplained
from op_translation import Absent, Translation, same_leaf, tests_of_pytorch

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64")
DTYPES += ("float16", "bfloat16", "float32", "float64", "complex64")
PARTS = ("forward", "gradients", "method", "inplace", "out", "aliases", "noncontiguous", "errors")

# Whose elements are whatever lay in memory.
UNINITIALIZED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
UNINITIALIZED |= {"empty_permuted", "resize_", "resize_as_"}
# Whose elements are sums of larger terms.
OF_MATRICES = ("linalg.", "matrix_exp", "cdist", "svd", "qr", "cholesky", "pinverse")
# Vectors whose signs are the choice of who computes them.
UP_TO_SIGN = {"svd", "linalg.svd", "linalg.eigh"}
# PyTorch writes beyond an `out` whose dimensions lie in another order.
WRITES_BEYOND = {"tril", "triu"}
# What PyTorch's tests call through torch.ops.aten.
INTERNAL = {"max_pool2d_with_indices_backward", "nn.functional.linear_cross_entropy"}


class Samples:
    """Both libraries, and the operations of PyTorch's table.

    >>> samples = Samples(torch, lazyt)
    >>> samples.compare(samples.named("add")[0], "float32", parts=("forward",))
    []
    """

    def __init__(self, torch: types.ModuleType, lazyt: types.ModuleType):
        self.torch, self.lazyt = torch, lazyt
        self.table = tests_of_pytorch("common_methods_invocations").op_db
        self.to_lazyt = Translation(torch, lazyt)
        self.reading = {torch: Reader(torch), lazyt: Reader(lazyt)}
        self.compared: collections.Counter[str] = collections.Counter()

    def named(self, pattern: str) -> list[Any]:
        """The operations whose name, with that of their variant, matches a pattern from its
        beginning to its end."""
        return [op for op in self.table if re.fullmatch(pattern, full_name(op))]

    def here(self, op: Any) -> bool:
        """Whether lazyt has the operation."""
        if op.name in INTERNAL or hasattr(self.torch, op.name) > hasattr(self.lazyt, op.name):
            return False
        for f in (op.op, op.method_variant):
            with contextlib.suppress(Absent):
                if f is not None and self._names_exist(f):
                    return True
        return False

    def _names_exist(self, f: Any) -> bool:
        made = self.to_lazyt(f)
        if made is f and isinstance(f, types.FunctionType):
            return False
        if isinstance(made, types.FunctionType) and f.__name__ == "<lambda>":
            used = [n for n in made.__code__.co_names if hasattr(self.torch.Tensor, n)]
            return all(hasattr(self.lazyt.Tensor, n) or hasattr(self.lazyt, n) for n in used)
        return made is not f

    def compare(
        self,
        op: Any,
        dtype: str,
        parts: tuple[str, ...] = PARTS,
        chosen: Callable[[int], bool] = lambda index: True,
    ) -> list[Difference]:
        """What differs for an operation in a dtype; `chosen` says of each sample, by its place,
        whether it runs."""
        differences: list[Difference] = []
        kind = getattr(self.torch, dtype)
        if not op.supports_dtype(kind, "cpu"):
            parts = tuple(part for part in parts if part in ("forward", "inplace"))
        tracked = op.supports_autograd and kind.is_floating_point  # complex gradients are missing
        for index, sample in enumerate(self._samples(op, kind, tracked)):
            if chosen(index):
                for part in parts:
                    if part != "errors":
                        case = Case(self, op, dtype, part, sample)
                        differences += getattr(case, part)()
        if not op.supports_dtype(kind, "cpu"):  # of several faults any may be named
            differences = [d for d in differences if d.kind == "accepts"]
        return differences

    def of_share(self, operations: list, share: int, shares: int) -> list[Difference]:
        """What differs in every so many-th operation: its errors, two samples in float32, one in a
        dtype that changes from one operation to the next."""
        found: list[Difference] = []
        for place, op in list(enumerate(operations))[share::shares]:
            if not self.here(op):
                continue
            found += self.errors(op)
            for dtype in {"float32", DTYPES[place % len(DTYPES)]}:
                count = 2 if dtype == "float32" else 1
                found += self.compare(op, dtype, chosen=lambda index, n=count: index < n)
        return found

    def errors(self, op: Any) -> list[Difference]:
        """What differs for the inputs that PyTorch's table says are errors."""
        differences: list[Difference] = []
        if op.error_inputs_func is None:
            return differences
        for error in op.error_inputs("cpu"):
            case = Case(self, op, "", "errors", error.sample_input)
            differences += case.forward(gradients=False)
        return differences

    def _samples(self, op: Any, kind: Any, tracked: bool) -> Iterator[Any]:
        try:
            yield from op.sample_inputs("cpu", kind, requires_grad=tracked)
        except (RuntimeError, NotImplementedError, TypeError, ValueError, AssertionError):
            return  # PyTorch cannot make samples of a dtype that the operation does not take


class Case:
    """A sample of an operation, in the several ways in which it can be asked for."""

    def __init__(self, samples: Samples, op: Any, dtype: str, part: str, sample: Any):
        self.samples, self.op, self.dtype, self.part, self.sample = samples, op, dtype, part, sample

    def forward(self, gradients: bool = False) -> list[Difference]:
        """The function itself."""
        return self._both(self.op.op, self.sample, gradients=gradients)

    def gradients(self) -> list[Difference]:
        """The gradients of the function, where the sample requires any."""
        return self._both(self.op.op, self.sample, gradients=True) if self._tracked() else []

    def noncontiguous(self) -> list[Difference]:
        """The function, of the same elements with gaps between them."""
        try:
            sample = self.sample.noncontiguous()
        except RuntimeError:
            return []
        return self._both(self.op.op, sample, gradients=self._tracked())

    def method(self) -> list[Difference]:
        """The method of the same name."""
        variant = self.op.method_variant
        return self._both(variant, self.sample) if variant is not None else []

    def inplace(self) -> list[Difference]:
        """The in-place variant, on a copy of the input, and its gradients."""
        variant = self.op.inplace_variant
        if variant is None or not isinstance(self.sample.input, self.samples.torch.Tensor):
            return []

        def on_copy(library: types.ModuleType) -> Callable:
            f = variant if library is self.samples.torch else self.samples.to_lazyt(variant)

            def run(x: Any, *args: Any, **options: Any) -> Any:
                x = x.clone()
                result = f(x, *args, **options)
                return x, result is x

            return run

        return self._both(on_copy, self.sample, gradients=self._tracked(), made=True)

    def aliases(self) -> list[Difference]:
        """The other names of the function, and operators."""
        differences = []
        for alias in self.op.aliases:
            for f in (alias.op, alias.method_variant):
                if f is not None:
                    differences += self._both(f, self.sample)
        if self.op.operator_variant is not None and not self.sample.kwargs:
            differences += self._both(self.op.operator_variant, self.sample)
        return differences

    def out(self) -> list[Difference]:
        """`out=` of the right kind with other strides, of other dtypes and of another shape."""
        if not self.op.supports_out:
            return []
        torch = self.samples.torch
        with _quiet(torch):
            try:
                result = self.op.op(self.sample.input, *self.sample.args, **self.sample.kwargs)
            except Exception:
                return []
        several = isinstance(result, (list, tuple))
        results = list(result) if several else [result]
        if not all(isinstance(r, torch.Tensor) for r in results):
            return []
        differences = []
        for choice in _OUTS:
            if choice is other_order and self.op.name in WRITES_BEYOND:
                continue
            outs = [choice(torch, r.detach()) for r in results]

            def with_out(library: types.ModuleType, outs: list = outs) -> Callable:
                theirs = library is torch
                f = self.op.op if theirs else self.samples.to_lazyt(self.op.op)
                made = same_leaf(torch, outs, {}) if theirs else self.samples.to_lazyt(outs)

                def run(*args: Any, **options: Any) -> Any:
                    with library.no_grad():
                        given = f(*args, out=tuple(made) if several else made[0], **options)
                    pairs = zip(given if several else [given], made)
                    return made, all(a is b for a, b in pairs)

                return run

            differences += self._both(with_out, self.sample, made=True, note=choice.__name__)
        return differences

    def _tracked(self) -> bool:
        torch = self.samples.torch
        values = [self.sample.input, *self.sample.args, *self.sample.kwargs.values()]
        flat = [y for x in values for y in (x if isinstance(x, (list, tuple)) else [x])]
        return any(isinstance(x, torch.Tensor) and x.requires_grad for x in flat)

    def _both(
        self, f: Any, sample: Any, *, gradients: bool = False, made: bool = False, note: str = ""
    ) -> list[Difference]:
        """Runs `f` in both libraries and compares; `made`: `f` makes the function of a library."""
        samples = self.samples
        torch, lazyt = samples.torch, samples.lazyt
        samples.to_lazyt.fresh()
        arguments = (sample.input, sample.args, sample.kwargs)
        process = getattr(sample, "output_process_fn_grad", None)
        expected = self._run(
            torch,
            lambda: f(torch) if made else f,
            lambda: same_leaf(torch, arguments, {}),
            process,
            gradients,
        )
        actual = self._run(
            lazyt,
            lambda: f(lazyt) if made else samples.to_lazyt(f),
            lambda: samples.to_lazyt(arguments),
            process and samples.to_lazyt(process),
            gradients,
        )
        samples.compared[self.part] += 1
        random = full_name(self.op).split(".")[0] in UNINITIALIZED
        sums = self.op.name.startswith(OF_MATRICES)
        kind, detail = difference(expected, actual, not random, self.dtype, sums)
        if not kind:
            return []
        shown = _shown(sample) + (f" {note}" if note else "")
        return [Difference(full_name(self.op), self.dtype, self.part, kind, shown, detail)]

    def _run(
        self,
        library: types.ModuleType,
        function: Callable,
        arguments: Callable,
        process: Callable | None,
        gradients: bool,
    ) -> Any:
        """What one library does: plain data of the results and gradients, or the error."""
        read = self.samples.reading[library]
        with _quiet(library):
            try:
                call, given = function(), arguments()
                first, rest, options = given
                result = call(first, *rest, **options)
                if self.op.name in UP_TO_SIGN:
                    result = _without_signs(library, result, self.op.name == "linalg.svd")
                found = read(result)
                if gradients:
                    if process is not None and self.part != "inplace":
                        result = process(result)
                    leaves = [t for t in _tensors(library, given) if t.requires_grad]
                    found = (found, read(_differentiated(library, result, leaves)))
            except Exception as error:
                return ("error", type(error).__name__, str(error))
        return ("value", found)


def _differentiated(library: types.ModuleType, result: Any, leaves: list) -> list:
    """Gradients of the leaves for a fixed cotangent of every result."""
    results = [r for r in _tensors(library, result) if r.requires_grad]
    if not results:
        return []
    cotangents = [_cotangent(library, r, index) for index, r in enumerate(results)]
    return list(library.autograd.grad(results, leaves, cotangents, allow_unused=True))


def _cotangent(library: types.ModuleType, result: Any, index: int) -> Any:
    array = np.random.RandomState(index).randint(1, 9, tuple(result.shape)) / 4 - 1.125
    return library.tensor(np.asarray(array, np.float64)).to(result.dtype)


def _without_signs(library: types.ModuleType, x: Any, stacked: bool) -> Any:
    """Vectors without their signs, and those alone that have a singular value: others are any basis
    of what is left. stacked: the last factor holds its vectors in rows."""
    if isinstance(x, library.Tensor):
        return x.abs()
    if isinstance(x, (tuple, list)):
        if len(x) == 3:
            count = x[1].shape[-1]
            last = x[2][..., :count, :] if stacked else x[2][..., :count]
            x = (x[0][..., :count], x[1], last)
        return tuple(_without_signs(library, i, stacked) for i in x)
    return x


def _tensors(library: types.ModuleType, x: Any) -> list:
    if isinstance(x, library.Tensor):
        return [x]
    if isinstance(x, dict):
        x = tuple(x.values())
    return [t for i in x for t in _tensors(library, i)] if isinstance(x, (list, tuple)) else []


@contextlib.contextmanager
def _quiet(library: types.ModuleType) -> Iterator[None]:
    """From seed 0, without warnings."""
    library.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def other_order(torch: types.ModuleType, result: Any) -> Any:
    """As the result, laid out with its dimensions reversed."""
    backwards = tuple(reversed(range(result.dim())))
    return torch.zeros_like(result.permute(backwards).contiguous()).permute(backwards)


def no_elements(torch: types.ModuleType, result: Any) -> Any:
    """Of the result's dtype, to be resized."""
    return torch.empty(0, dtype=result.dtype)


def doubles(torch: types.ModuleType, result: Any) -> Any:
    """Of the result's shape in float64."""
    return torch.zeros(result.shape, dtype=torch.float64)


def bytes_(torch: types.ModuleType, result: Any) -> Any:
    """Of the result's shape in uint8."""
    return torch.zeros(result.shape, dtype=torch.uint8)


_OUTS = (other_order, no_elements, doubles, bytes_)


def _shown(sample: Any) -> str:
    """A sample in one line: its tensors by dtype, shape and strides."""

    def text(x: Any) -> str:
        if hasattr(x, "stride") and hasattr(x, "dtype"):
            name = str(x.dtype).removeprefix("torch.")
            small = f"={x.tolist()}" if x.numel() < 7 else ""
            order = "" if x.is_contiguous() else f"/{list(x.stride())}"
            return f"{name}{list(x.shape)}{order}{small}"
        if isinstance(x, (list, tuple)):
            return "[" + ", ".join(text(i) for i in x) + "]"
        return repr(x)

    parts = [text(x) for x in (sample.input, *sample.args)]
    return ", ".join(parts + [f"{k}={text(v)}" for k, v in sample.kwargs.items()])[:400]


def full_name(op: Any) -> str:
    """An operation's name with that of its variant: "std.unbiased"."""
    return op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--op", default="", help="a regular expression that the name must hold")
    parser.add_argument("--dtype", nargs="*", default=DTYPES, choices=DTYPES)
    parser.add_argument("--part", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument(
        "--first", type=int, default=10**9, help="samples of an operation and dtype"
    )
    parser.add_argument("--kind", default="", help="only differences whose kind holds this")
    parser.add_argument("--all", action="store_true", help="also differences that are known")
    parser.add_argument("--from", dest="start", default="", help="the first operation")
    parser.add_argument("--supported", action="store_true", help="only dtypes that PyTorch takes")
    parser.add_argument("--verbose", action="store_true", help="every difference, not one a kind")
    options = parser.parse_args()
    import torch
    from test_op_samples import KNOWN

    import lazyt

    torch.set_num_threads(1)
    samples = Samples(torch, lazyt)
    chosen = [
        op
        for op in samples.table
        if re.search(options.op, full_name(op))
        and (options.op or not op.name.startswith("nn.functional"))
    ]
    names = [full_name(op) for op in chosen]
    chosen = chosen[names.index(options.start) if options.start else 0 :]
    total: collections.Counter[str] = collections.Counter()
    absent = []
    start = time.time()
    for op in chosen:
        if not samples.here(op):
            absent.append(full_name(op))
            continue
        began = time.time()
        found = samples.errors(op) if "errors" in options.part else []
        for dtype in options.dtype:
            if not options.supported or op.supports_dtype(getattr(torch, dtype), "cpu"):
                few = lambda index: index < options.first
                found += samples.compare(op, dtype, tuple(options.part), few)
        kinds: dict[tuple[str, str], list[Difference]] = {}
        for d in found if options.all else unexplained(found, KNOWN):
            if options.kind in d.kind:
                kinds.setdefault((d.part, d.kind), []).append(d)
        for (part, kind), several in kinds.items():
            dtypes = ",".join(sorted({d.dtype for d in several}))
            print(f"== {full_name(op)} {part}: {kind}: {len(several)} ({dtypes})")
            for d in several if options.verbose else several[:1]:
                print(f"   [{d.dtype}] {d.detail}\n      {d.sample}")
            total[kind] += len(several)
        if time.time() - began > 20:
            print(f"-- {full_name(op)} took {time.time() - began:.0f} s")
        sys.stdout.flush()
    print("absent:", " ".join(absent))
    print("compared:", dict(samples.compared), f"in {time.time() - start:.0f} s")
    print("differences:", dict(total))


if __name__ == "__main__":
    main()
