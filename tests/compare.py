"""Compare what a program printed with what it should print.

Words, signs and integers must be equal; numbers with a point or an exponent may differ by
rounding. White space does not count (PyTorch breaks lines by width), except where every character
is asked for.

    difference("loss: 0.1235", "loss:  0.1236")   # None
    difference("shape [2, 3]", "shape [3, 2]")    # 'word 3 ...'
"""

from __future__ import annotations

import re
from itertools import zip_longest

RTOL = 1e-4
ATOL = 1e-6

_TOKEN = re.compile(
    r"[^\W\d]\w*"  # a word; a number that is part of it (float32) is not one of its own
    r"|[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?"
    r"|\S"
)
_FLOAT = re.compile(
    r"[-+]?(?:\d+\.(?P<decimals>\d*)|\.(?P<only>\d+)|\d+(?=[eE]))(?:[eE](?P<exp>[-+]?\d+))?$"
)


def _last_digit(match: re.Match[str]) -> float:
    """What one in the last printed digit is worth; 0 for numbers printed short.

    A number with fewer than three decimals is most often an exact one (`2.`, `0.5`), where one in
    its last digit would hide a wrong answer.
    """
    decimals = match["decimals"] or match["only"] or ""
    if len(decimals) < 3:
        return 0.0
    return float(f"1e{int(match['exp'] or 0) - len(decimals)}")


def same_token(expected: str, actual: str, rtol: float = RTOL) -> bool:
    """Whether two words or numbers count as equal."""
    if expected == actual:
        return True
    first, second = _FLOAT.match(expected), _FLOAT.match(actual)
    if first is None or second is None:
        return False
    a, b = float(expected), float(actual)
    unit = max(_last_digit(first), _last_digit(second))
    return abs(a - b) <= max(rtol * abs(a), ATOL, unit * (1 + 1e-9))


def difference(
    expected: str, actual: str, *, exact: bool = False, rtol: float = RTOL
) -> str | None:
    """None where the texts agree, else a description of the first place where they do not.

    With `exact` every character counts.
    """
    if exact:
        if expected == actual:
            return None
        rows = zip_longest(expected.split("\n"), actual.split("\n"))
        for number, (a, b) in enumerate(rows, 1):
            if a != b:
                return f"line {number}\n  expected: {a!r}\n  printed:  {b!r}"
    wanted, got = list(_TOKEN.finditer(expected)), list(_TOKEN.finditer(actual))
    for number, (a, b) in enumerate(zip_longest(wanted, got), 1):
        if a is None or b is None or not same_token(a[0], b[0], rtol):
            places = f"  expected: {_around(expected, a)}\n  printed:  {_around(actual, b)}"
            return f"word {number}\n{places}"
    return None


def _around(text: str, at: re.Match[str] | None) -> str:
    """The line of a token, with the token marked."""
    if at is None:
        return "(nothing more)"
    start = text.rfind("\n", 0, at.start()) + 1
    end = text.find("\n", at.end())
    line = text[at.end() : end if end >= 0 else len(text)]
    number = text.count("\n", 0, at.start()) + 1
    return f"line {number}: {text[start : at.start()]}»{at[0]}«{line}"
