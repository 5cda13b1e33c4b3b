"""The page docs/pytorch_names.md: every recorded name of PyTorch with its state here."""

from __future__ import annotations

from collections import Counter

from .names import State, owners, state_of

HEAD = """# The names of PyTorch

Every public name of PyTorch 2.13.0 and what it is here, written by

    python -m lazyt.coverage --page docs/pytorch_names.md

A name *works* where lazyt has it; it *differs* as its line says; the others are *missing*. What a
program of yours needs says `python -m lazyt.coverage SCRIPT.py`.
"""
WIDTH = 110


def page() -> str:
    """The text of the page."""
    states = {
        owner: {n: state_of(f"{owner}.{n}") for n in names} for owner, names in owners().items()
    }
    lines = [HEAD, "| | names | works | differs | missing |", "|---|---|---|---|---|"]
    for owner, names in states.items():
        lines.append(_row(f"[{owner}](#{owner.replace('.', '').lower()})", names))
    total = {f"{o}.{n}": s for o, names in states.items() for n, s in names.items()}
    lines.append(_row("all", total))
    for owner, names in states.items():
        lines += ["", f"## {owner}", ""]
        for word in ("works", "missing"):
            chosen = [n for n, s in names.items() if s.word == word]
            if chosen:
                lines += [f"{word}:", *_wrapped(chosen), ""]
        lines += [f"- `{n}` differs: {s.how}" for n, s in names.items() if s.word == "differs"]
        while not lines[-1]:
            lines.pop()
    return "\n".join(lines) + "\n"


def _row(title: str, names: dict[str, State]) -> str:
    count = Counter(s.word for s in names.values())
    cells = [len(names), *(count[w] for w in ("works", "differs", "missing"))]
    return f"| {title} | " + " | ".join(map(str, cells)) + " |"


def _wrapped(names: list[str]) -> list[str]:
    """Names as code, in lines of about the page's width."""
    lines, line = [], ""
    for name in names:
        piece = f"`{name}` "
        if line and len(line) + len(piece) > WIDTH:
            lines.append(line.rstrip())
            line = ""
        line += piece
    return [*lines, line.rstrip()]
