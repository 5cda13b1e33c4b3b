"""Random tensor programs, run on two implementations and compared.

    python tests/random_programs.py --count 2000 --seed 0

writes that many programs (grammar/), runs each on PyTorch and on
lazyt, and prints the first on which they differ, shrunk to the statements that matter. Compared are
the exception type of every statement, everything the program read, and at the end every live
tensor: dtype, shape, requires_grad, is_leaf, values, gradient. `--show N` prints a program.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import random
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any
from unittest import mock

import numpy as np
from grammar import generate
from harness import fresh_state, load

Statements = list[str]


@dataclass
class Outcome:
    """What a program did: exception type of each statement, and what was left at the end."""

    errors: list[str | None] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    broke: bool = False  # the implementation says itself that this is its own mistake


Runner = Callable[[Statements], Outcome]


@lru_cache(maxsize=100_000)
def compiled(statement: str) -> types.CodeType:
    return compile(statement, "<statement>", "exec")


def describe(value: Any, strides: bool) -> dict[str, Any]:
    """A tensor or array as plain data."""
    if isinstance(value, np.ndarray):
        return {"array": value.copy()}
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


def host(value: Any) -> np.ndarray:
    """A copy of a tensor's values for the host."""
    return np.array(value.cpu().numpy())


@contextlib.contextmanager
def drawn_on_the_cpu() -> Iterator[None]:
    """While open, lazyt's draws for a device are those of the CPU's generator, to be compared."""
    from lazyt.functions import draws
    from lazyt.ir.ops_device import transfer

    dropout = import_module("lazyt.nn.functional.dropout")  # the name is a function's, too

    def draw_on(device: str, *args: Any, **parameters: Any) -> Any:
        return transfer(original("cpu", *args, **parameters), device)

    original = draws.draw_on
    with (
        mock.patch.object(draws, "draw_on", draw_on),
        mock.patch.object(dropout, "draw_on", draw_on),
    ):
        yield


def apart(program: Statements) -> Statements:
    """The program without memory that NumPy and tensors share, as none is between devices."""
    rewrites = (
        ("torch.from_numpy(", "torch.tensor("),
        ("torch.as_tensor(", "torch.tensor("),
        (".numpy()", ".clone().cpu().numpy()"),
        ("np.asarray(", "host("),
    )
    found = []
    for statement in program:
        for old, new in rewrites:
            statement = statement.replace(old, new)
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
    names: dict[str, Any] = {"torch": torch, "np": np, "copy": copy, "out": out, "host": host}
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
                error = type(raised).__name__
                result.messages.append(f"{statement!r}: {error}: {raised}")
                result.broke |= "INTERNAL ASSERT FAILED" in str(raised)
            result.errors.append(error)
            if ends_program(statement, error):
                stopped = True
                break
        torch.set_grad_enabled(True)
        for name in sorted(names):
            if re.fullmatch(r"[xn]\d+", name):
                try:
                    seen = describe(names[name], strides)
                except Exception as raised:
                    seen = {"unreadable": type(raised).__name__}
                if stopped:
                    seen.pop("grad", None)
                result.state[name] = seen
    result.state["out"] = out
    return result


def runner(name: str, strides: bool = False, device: str = "cpu") -> Runner:
    """Runs programs on the implementation of that name."""
    torch = load(name)
    return lambda program: run(program, torch, strides, device)


def ignoring(pattern: str, runs: Runner) -> Runner:
    """The same, but programs with a message that has the pattern count as broken."""

    def filtered(program: Statements) -> Outcome:
        outcome = runs(program)
        outcome.broke |= any(re.search(pattern, message) for message in outcome.messages)
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
    if type(a).__name__ == "dtype":
        return str(a) == str(b)
    if type(a).__name__ == "Tensor" and type(b).__name__ == "Tensor":
        return close(a.tolist(), b.tolist(), tol)
    if isinstance(a, str) and isinstance(b, str):
        # Which zero a sum or a maximum of zeros gives depends on PyTorch's vector instructions.
        a, b = (re.sub(r"-(0\.0*)(?![0-9])", r"\1", "".join(text.split())) for text in (a, b))
        b = re.sub(r",device='cuda:\d+'", "", b)
        return a == b
    return type(a) is type(b) and a == b


def differs(program: Statements, expected: Outcome, actual: Outcome) -> str | None:
    """The first difference of two outcomes, in words; None where they agree.

    A program that PyTorch itself breaks on says nothing.
    """
    if expected.broke:
        return None
    for statement, a, b in zip(program, expected.errors, actual.errors):
        if a != b:
            told = next((m for m in actual.messages if m.startswith(repr(statement))), "")
            return f"{statement!r} raised {b}, expected {a}  {told}".rstrip()
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


def with_reads(program: Statements, choose: random.Random) -> tuple[Statements, list[int]]:
    """The program with reads put in between, which must change nothing.

    Returns it with the places of its own statements.
    """
    longer: Statements = []
    places: list[int] = []
    names = sorted(set(re.findall(r"\bx\d+\b", "\n".join(program))))
    for statement in program:
        places.append(len(longer))
        longer.append(statement)
        if choose.random() < 0.5:
            name = choose.choice(names)
            read = choose.choice(["tolist()", "detach().sum().item()", "detach().numpy().sum()"])
            longer.append(f"if {name!r} in globals():\n    {name}.{read}")
    return longer, places


def reads_matter(program: Statements, choose: random.Random, runs: Runner) -> str | None:
    """The first difference between a program and itself with more reads."""
    longer, places = with_reads(program, choose)
    plain, read = runs(program), runs(longer)
    read.errors = [read.errors[at] for at in places if at < len(read.errors)]
    return differs(program, plain, read)


# Shrinking


def shrink(program: Statements, fails: Callable[[Statements], bool]) -> Statements:
    """A short program that still fails, by leaving out statements and lines of blocks."""
    size = max(len(program) // 2, 1)
    while size:
        start, before = 0, len(program)
        while start < len(program):
            shorter = program[:start] + program[start + size :]
            if shorter and fails(shorter):
                program = shorter
            else:
                start += size
        if size > 1 or len(program) == before:
            size //= 2
    for at, statement in enumerate(program):
        header, *body = statement.split("\n")
        candidates = ["\n".join(line[4:] for line in body)] if body else []
        if len(body) > 1:
            candidates += ["\n".join([header, line]) for line in body]
        for candidate in candidates:
            shorter = program[:at] + [candidate] + program[at + 1 :]
            try:
                compiled(candidate)
            except SyntaxError:
                continue
            if fails(shorter):
                program = shorter
                break
    return program


def report(program: Statements, expected: Runner, actual: Runner) -> str:
    """A failing program, shrunk, as text that can be pasted, with the difference."""
    short = shrink(program, lambda p: check(p, expected, actual) is not None)
    head = "import copy\nimport numpy as np\nimport lazyt as torch\nout = []\n"
    found = str(check(short, expected, actual)).replace("\n", "\n# ")
    return head + "\n".join(short) + f"\n# {found}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2000, help="programs to run")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first program")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many differences")
    parser.add_argument("--length", type=int, help="statements in a program (default: 8 to 44)")
    parser.add_argument("--ignore", help="leave out programs where torch says this (a pattern)")
    parser.add_argument("--strides", action="store_true", help="compare stride() too")
    parser.add_argument("--implementation", default="lazyt", help="compared with torch")
    parser.add_argument("--device", default="cpu", help="where lazyt's tensors are")
    parser.add_argument("--show", type=int, help="print the program of this seed and stop")
    parser.add_argument("--rates", action="store_true", help="tell how often statements raise")
    args = parser.parse_args()
    if args.show is not None:
        print("\n".join(generate(random.Random(args.show), args.length)))
        return 0
    expected = runner("torch", args.strides)
    if args.ignore:
        expected = ignoring(args.ignore, expected)
    actual = runner(args.implementation, args.strides, args.device)
    start, failures, statements, errors, stops = time.perf_counter(), 0, 0, 0, 0
    for seed in range(args.seed, args.seed + args.count):
        program = generate(random.Random(seed), args.length)
        if args.device != "cpu":
            program = apart(program)
        if args.rates:
            outcome = expected(program)
            statements += len(outcome.errors)
            errors += sum(e is not None for e in outcome.errors)
            stops += len(outcome.errors) < len(program)
        if check(program, expected, actual) is not None:
            failures += 1
            print(f"# seed {seed}\n{report(program, expected, actual)}\n", flush=True)
            if failures >= args.failures:
                break
    seconds = time.perf_counter() - start
    print(f"{seed - args.seed + 1} programs, {failures} differ, {seconds:.1f} s")
    if args.rates:
        print(f"{errors} of {statements} statements raise, {stops} programs end early")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
