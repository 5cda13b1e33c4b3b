"""What a program does, as plain data: its errors, what it read, what it left; and comparing two.

    differs(program, run(program, torch), run(program, lazyt))
    # "'x1 = x0.sum(5)' raised ValueError: …, expected IndexError: …" -- or None

Values agree to 1e-7 of the largest of a tensor where a program computes in float64 throughout: sums
of a few dozen terms differ in the last bits by the order PyTorch's vector instructions add in, and
modules draw their first weights in float32. In programs with float32 it is 1e-3: gradients go
through chains of a dozen operations, and values reach 2**10. Integers, bools, shapes, dtypes and
what errors say must be equal.

Not compared, because PyTorch's own answer is an accident of its kernels:
- which zero (0.0 or -0.0) a printed number is: vectorised sums and maxima differ from scalar
  ones;
- which view of an operand a backward had saved that raises for a later write (`OVERWRITTEN`);
- the list of overloads, addresses and C++ frames in a message (`comparable`).
What programs therefore avoid is said where the grammar avoids it: `.data` writes to what a
composition's backward reads (`Store.mixed`), steps of a size that rounding decides (`OPTIMIZERS`),
names and versions of gradients made inside transforms (`Track.inner`), in-place functions that
PyTorch cannot differentiate (`NO_INPLACE`).
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import re
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from unittest import mock

import numpy as np
from harness import fresh_state, load

Statements = list[str]


@dataclass
class Outcome:
    """What a program did: the error of each statement, and what was left at the end."""

    errors: list[str | None] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    broke: bool = False  # the implementation says itself that this is its own mistake


Runner = Callable[[Statements], Outcome]


@lru_cache(maxsize=100_000)
def compiled(statement: str) -> types.CodeType:
    return compile(statement, "<statement>", "exec")


def describe(value: Any, strides: bool) -> Any:
    """What a program left: a tensor with its autograd side, anything else as plain data."""
    if not hasattr(value, "requires_grad") or not hasattr(value, "stride"):
        return {"is": plain(value)}
    seen: dict[str, Any] = {
        "dtype": str(value.dtype).split(".")[-1],
        "shape": tuple(value.shape),
        "values": host(value.data),
    }
    if strides:
        seen["stride"] = tuple(value.stride())
    try:
        seen["is_leaf"] = bool(value.is_leaf)
    except RuntimeError:  # a view that a write to its base made unusable
        return seen
    seen["requires_grad"] = bool(value.requires_grad)
    seen["grad"] = None if value.grad is None else host(value.grad.detach())
    return seen


def plain(value: Any) -> Any:
    """Tensors, modules, optimizers and schedulers, also in containers, as plain data."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "named_parameters"):
        found = {name: describe(p, False) for name, p in value.named_parameters()}
        return found | plain(dict(value.named_buffers())) | {"training": value.training}
    if hasattr(value, "state_dict"):
        return plain(value.state_dict())
    if hasattr(value, "requires_grad") and hasattr(value, "stride"):
        return [str(value.dtype).split(".")[-1], list(value.shape), host(value.detach())]
    if hasattr(value, "is_floating_point"):  # a dtype
        return str(value).split(".")[-1]
    return type(value).__name__ if callable(value) else value


def host(value: Any) -> np.ndarray:
    """A copy of a tensor's values for the host."""
    return np.array(value.cpu().numpy())


@contextlib.contextmanager
def drawn_on_the_cpu() -> Iterator[None]:
    """While open, lazyt's draws for a device are those of the CPU's generator, to be compared."""
    from lazyt.functions import draws
    from lazyt.ir.ops_device import transfer

    dropout = importlib.import_module(
        "lazyt.nn.functional.dropout"
    )  # the name is a function's, too

    def draw_on(device: str, *args: Any, **parameters: Any) -> Any:
        return transfer(original("cpu", *args, **parameters), device)

    original = draws.draw_on
    with (
        mock.patch.object(draws, "draw_on", draw_on),
        mock.patch.object(dropout, "draw_on", draw_on),
    ):
        yield


def apart(program: Statements) -> Statements:
    """The program without memory that NumPy and tensors share, as none is between devices, and
    without devices that it names."""
    rewrites = (
        ("torch.from_numpy(", "torch.tensor("),
        ("torch.as_tensor(", "torch.tensor("),
        (".numpy()", ".clone().cpu().numpy()"),
        ("np.asarray(", "host("),
        # What names a device, or makes tensors of one whatever the default is.
        ("torch.DoubleTensor(", "torch.empty("),
        (".to('cpu', torch.float64", ".to(torch.float64"),
        (".device.type", ".dtype"),
    )
    patterns = (
        # The default device is not for this one.
        (
            r"torch\.normal\((.*?), dtype=",
            r"torch.normal(\1, device=torch.get_default_device(), dtype=",
        ),
        (r"repr\((\w+)\)", r"repr(\1).replace(' (cuda:0)', '')"),
    )
    found = []
    for statement in program:
        for old, new in rewrites:
            statement = statement.replace(old, new)
        for pattern, new in patterns:
            statement = re.sub(pattern, new, statement)
        found.append(statement)
    return found


def ends_program(statement: str, error: str | None) -> bool:
    """Whether nothing that follows is worth comparing.

    A backward that fails half-way leaves gradients and freed memory behind that depend on the
    engine's order.
    """
    return error is not None and ("backward(" in statement or "autograd.grad(" in statement)


def run(
    program: Statements, torch: types.ModuleType, strides: bool = False, device: str = "cpu"
) -> Outcome:
    """Run a program statement by statement; its new tensors are on the device."""
    if device == "cpu":
        return _run(program, torch, strides)
    torch.set_default_device(device)
    try:
        with drawn_on_the_cpu():
            return _run(program, torch, strides)
    finally:
        torch.set_default_device("cpu")


def _run(program: Statements, torch: types.ModuleType, strides: bool) -> Outcome:
    out: list[Any] = []
    names: dict[str, Any] = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
    names |= {"np": np, "copy": copy, "io": io, "out": out, "host": host, "__name__": "program"}
    for module in (
        "utils.checkpoint",
        "utils.data",
        "nn.utils.parametrize",
        "func",
        "autograd.functional",
    ):
        importlib.import_module(f"{torch.__name__}.{module}")

    def saved(value: Any) -> io.BytesIO:
        file = io.BytesIO()
        torch.save(value, file)
        file.seek(0)
        return file

    names["saved"] = saved
    result = Outcome()
    fresh_state(torch)
    stopped = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for statement in program:
            error = None
            try:
                exec(compiled(statement), names)
            except Exception as raised:
                error = f"{type(raised).__name__}: {comparable(str(raised))}"
                if ends_program(statement, error):
                    error = re.sub(OVERWRITTEN, "a saved value was overwritten", error)
                result.broke |= "INTERNAL ASSERT FAILED" in error
            result.errors.append(error)
            if ends_program(statement, error):
                stopped = True
                break
        torch.set_grad_enabled(True)
        for name in sorted(names):
            if re.fullmatch(r"[xnmos]\d+", name):
                seen = readable(names[name], lambda value: describe(value, strides))
                if stopped:
                    seen = {key: seen[key] for key in seen if key not in ("grad", "is")}
                result.state[name] = seen
    result.state["out"] = [readable(value) for value in out]
    return result


def readable(value: Any, how: Callable[[Any], Any] = plain) -> Any:
    """A value as plain data; where it cannot be read, why."""
    try:
        return how(value)
    except Exception as raised:
        return {"unreadable": type(raised).__name__}


# What the backward of an operation says of a value it saved: which view of an operand that was (a
# product saves folded ones) is the kernel's own affair; that it was overwritten is not.
OVERWRITTEN = (
    r"(?s)one of the variables needed for gradient computation has been modified by an inplace .*|"
    r"(A view was created|Output \d+ of \w+ is a view).* modified inplace.*"
)


def comparable(text: str) -> str:
    """An error's text without what no two implementations share.

    That are addresses, frames of C++, and the overloads which PyTorch's parser of arguments lists.
    """
    text = text.partition("\nException raised from ")[0]
    text = re.sub(r"(Can't pickle .*?): .*", r"\1", text)
    text = re.sub(r"(invalid combination of arguments) - got .*", r"\1", text, flags=re.S)
    return re.sub(r"0x[0-9a-f]+", "0x", text).strip()


def runner(name: str, strides: bool = False, device: str = "cpu") -> Runner:
    """Runs programs on the implementation of that name."""
    torch = load(name)
    return lambda program: run(program, torch, strides, device)


def ignoring(pattern: str, runs: Runner) -> Runner:
    """The same, but programs with a message that has the pattern count as broken."""

    def filtered(program: Statements) -> Outcome:
        outcome = runs(program)
        outcome.broke |= any(re.search(pattern, error) for error in outcome.errors if error)
        return outcome

    return filtered


# Comparison


def tolerance(program: Statements) -> float:
    """Relative and absolute tolerance: float64 throughout, or float32 somewhere."""
    return 1e-3 if any("float32" in line for line in program) else 1e-7


def close(a: Any, b: Any, tol: float) -> bool:
    """Whether two read values agree: nested lists, numbers, strings, arrays, shapes and dtypes."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
            return False
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if a.dtype.kind != "f":
            return bool((a == b).all())
        finite: list[float] = np.abs(a[np.isfinite(a)]).ravel().tolist()
        scale = max([1.0, *finite])
        return bool(np.allclose(a, b, rtol=0, atol=tol * scale, equal_nan=True))
    if isinstance(a, (bool, np.bool_)) or isinstance(b, (bool, np.bool_)):
        return type(a) is type(b) and a == b
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(close(x, y, tol) for x, y in zip(a, b))
    if isinstance(a, (float, np.floating)) and isinstance(b, (float, np.floating)):
        x, y = float(a), float(b)
        return x == y or (x != x and y != y) or abs(x - y) <= tol * max(1.0, abs(x))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key], tol) for key in a)
    if isinstance(a, str) and isinstance(b, str):
        # Which zero a sum or a maximum of zeros gives depends on PyTorch's vector instructions.
        a, b = (re.sub(r"-(0\.0*)(?![0-9])", r"\1", "".join(text.split())) for text in (a, b))
        return a == on_the_cpu(b)
    return type(a) is type(b) and a == b


def on_the_cpu(text: str) -> str:
    """What a program says on a device, without the device."""
    return re.sub(r",device='cuda:\d+'", "", text).replace("torch.cuda.", "torch.")


def differs(program: Statements, expected: Outcome, actual: Outcome) -> str | None:
    """The first difference of two outcomes, in words; None where they agree.

    A program that PyTorch itself breaks on says nothing.
    """
    if expected.broke:
        return None
    for statement, a, b in zip(program, expected.errors, actual.errors):
        if a != (b and on_the_cpu(b)):
            return f"{statement!r} raised {b}, expected {a}"
    tol = tolerance(program)
    reads, got = expected.state["out"], actual.state["out"]
    for number, (a, b) in enumerate(zip(reads, got)):
        if not close(a, b, tol):
            return f"out[{number}]\n  expected {a}\n  got      {b}"
    if len(reads) != len(got):
        return f"out has {len(got)} reads, expected {len(reads)}"
    for name, a in expected.state.items():
        if name == "out":
            continue
        b = actual.state.get(name)
        if b is None or not a.keys() <= b.keys():
            return f"{name}\n  expected {a}\n  got      {b}"
        for key in a:
            if not close(a[key], b[key], tol):
                return f"{name}.{key}\n  expected {a[key]}\n  got      {b[key]}"
    return None


def check(program: Statements, expected: Runner, actual: Runner) -> str | None:
    """Run a program on both; the first difference in words, or None."""
    try:
        return differs(program, expected(program), actual(program))
    except Exception as error:
        return f"comparing raised {type(error).__name__}: {error}"
