"""Random tensor programs, run on two implementations and compared.

    python tests/random_programs.py --count 2000 --seed 0

writes that many programs (grammar/), runs each on PyTorch and on
lazyt, and prints the first on which they differ, shrunk to the statements that matter. Compared are
the error of every statement, type and text, everything the program read, and at the end every live
tensor (dtype, shape, requires_grad, is_leaf, values, gradient), module, optimizer and scheduler.
outcomes.py says how closely. `--show N` prints a program.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Callable

from grammar import generate
from outcomes import Runner, Statements, apart, check, compiled, differs, ignoring, runner


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

    def fails(shorter: Statements) -> bool:
        found = check(shorter, expected, actual)
        return found is not None and "expected NameError" not in found

    short = shrink(program, fails)
    head = "import copy, io\nimport numpy as np\nimport lazyt as torch\nfrom lazyt import nn\n"
    found = str(check(short, expected, actual)).replace("\n", "\n# ")
    head += "F, out = nn.functional, []\n"
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
