"""Kernels dressed for reading: the same text under names from the operations and the user's code.

    v0p = x0v > v0p ? x0v : v0p;        row_max_partial = x_value > row_max_partial ? …
    const float v1 = (x0v - v0);        const float x_minus_max = (x_value - row_max);

What is compiled is canonical (DESIGN, section 7): its names are `x0` (an array that is read), `y0`
(one that is written), `v0` (a result) and `s0` (a run-time number), with a suffix for what a
renderer derives from them: `x0r`, where the row begins. Dressing replaces these words and nothing
else, so one table serves the loop IR, C and CUDA C, and the dressed text is the kernel that runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lazyt.ir.graph import Graph, Value
from lazyt.ir.passes.fuse import Group
from lazyt.ir.passes.fuse_loops import Space
from lazyt.ir.places import shown_by
from lazyt.ir.printer import type_text
from lazyt.ir.types import with_device

from .dress_words import (
    LOCALS,
    RESULTS,
    SIDES,
    SUFFIXES,
    VIEWS,
    describe,
    prefixed,
    reserved,
    role_of,
)
from .lower import Lowered
from .templates.own import OwnKernel

_WORD = re.compile(r"(?<!\w)[A-Za-z_]\w*")
BREAKS = {
    "c": re.compile(r"(?:[,;{=]|&&|\|\|) | (?=[-+*/?:] )"),
    "python": re.compile(r", "),
}
_ASSIGNED = re.compile(r"(?! *(?:for|if) )[^=]* = (?=.*;$)")
_CHOICE = re.compile(r".* (?=\? )")
OPEN = (",", "&&", "||")  # the end of a line that goes on
_MEMBER = re.compile(r"\.[A-Za-z_]\w*")
_CANONICAL = re.compile(r"([xyvs]\d+)([A-Za-z_]\w*)?")
LONGEST = 60  # characters of a name
LINE = 110  # characters of a line of dressed text


def identifier(text: str) -> str:
    """A valid name made of a text: `net.fc1.weight` becomes `net_fc1_weight`.

    Words of C, C++, CUDA, Python or their libraries get `_value` behind them.
    """
    name = re.sub(r"(?a:\W|_)+", "_", text).strip("_")[:LONGEST].rstrip("_") or "value"
    if name[0].isdigit() or prefixed(name):
        name = f"value_{name}"
    return f"{name}_value" if reserved(name) else name


class Wardrobe:
    """Chooses names, none of them twice: the second `exponential` is `exponential_2`.

    taken: words that mean something else in the texts.
    """

    def __init__(self, taken: Iterable[str] = ()):
        self.taken = set(taken)

    def choose(self, wish: str, kind: str = "") -> str:
        """The wish as an identifier that is still free. kind: what is said behind it where it is
        not, before a number is."""
        name = first = identifier(wish)
        if kind and name in self.taken:
            name = first = f"{first}_{kind}"
        k = 1
        while name in self.taken:
            k += 1
            name = f"{first}_{k}"
        self.taken.add(name)
        return name


def words(*texts: str) -> set[str]:
    """All words of some texts that dressing leaves alone; members (`threadIdx.x`) mean nothing by
    themselves."""
    found = {w for text in texts for w in _WORD.findall(_MEMBER.sub("", text))}
    return {w for w in found if not _CANONICAL.fullmatch(w)}


def dressed(text: str, names: Mapping[str, str]) -> str:
    """The text with its canonical names replaced. names: of `x0`, `v3`, …; what is derived from one
    (`x0r`) is named after it (`x_row`), and a function's parts (`k…_end`) after the function."""
    used = words(text) | set(names.values())
    chosen: dict[str, str] = {}

    def rename(match: re.Match) -> str:
        word = match.group()
        if word in names:
            return names[word]
        if word in chosen:
            return chosen[word]
        canonical = _CANONICAL.fullmatch(word)
        stem, _, rest = word.partition("_")
        if canonical and canonical.group(1) in names:
            suffix = canonical.group(2)
            stem, suffix = names[canonical.group(1)], SUFFIXES.get(suffix, suffix.strip("_"))
            new = f"{stem.removesuffix('_value')}_{suffix}"
            new = f"{stem}_{suffix}" if new in used else new
        elif rest and stem in names:
            new = f"{names[stem]}_{rest}"
        else:
            return word
        while new in used:
            new += "_"
        used.add(new)
        chosen[word] = new
        return new

    return _WORD.sub(rename, text)


def folded(text: str, language: str) -> str:
    """A text in "c" (also CUDA C) or "python" with its long lines broken after a comma or, in C, at
    an operator; names have made them longer than the canonical text's."""
    found: list[str] = []
    rest = text.splitlines()[::-1]
    while rest:
        line = rest.pop()
        begun = bool(found) and found[-1].endswith(OPEN)
        if len(line) > LINE and not line.lstrip().startswith("#"):
            while line.endswith(OPEN) and rest:
                line += " " + rest.pop().lstrip()
            indent = " " * (len(line) - len(line.lstrip()) + (0 if begun else 4))
            while len(line) > LINE and (end := _break(line, len(indent), language)):
                found.append(line[:end].rstrip())
                line = indent + line[end:]
        found.append(line)
    return "\n".join(found) + "\n"


def _break(line: str, indent: int, language: str) -> int:
    """Where to break a line: behind its assignment or before a choice if the rest then fits, else
    as late as possible; 0 where it cannot be broken."""
    for loosest in (_ASSIGNED, _CHOICE) if language == "c" else ():
        found = loosest.match(line)
        if found and found.end() <= LINE and indent + len(line) - found.end() <= LINE:
            return found.end()
    ends = (m.end() for m in BREAKS[language].finditer(line, indent + 1, LINE + 1))
    return max(ends, default=0)


def kernel_names(
    group: Group,
    lowered: Lowered,
    given: Mapping[Value, str],
    taken: Iterable[str] = (),
) -> tuple[dict[str, str], dict[Value, str]]:
    """Names for a lowered group: by the canonical name (`x0`, `v3`), and by the value.

    given: the user's names. taken: words of the texts that are to be dressed.
    """
    wardrobe = Wardrobe(taken)
    space = Space(group.shape, group.axes, group.total)
    names: dict[str, str] = {}
    named: dict[Value, str] = {}
    params = lowered.kernel.params
    outputs = {v: p.name for p, v in zip(params, lowered.values) if p.out}
    read = {called(s, given) for s in group.lead.operands()} if group.lead is not None else set()
    for p, v in zip(params, lowered.values):
        if not p.out:
            wish = called(v, given)
            read.add(wish)
            names[p.name] = named[v] = wardrobe.choose(wish, VIEWS.get(_kind(v), "array"))
    for p in params[len(lowered.values) :]:
        names[p.name] = wardrobe.choose("position")
    for v, name in outputs.items():
        if v in given:
            wish = f"new_{given[v]}" if given[v] in read else given[v]
            names[name] = wardrobe.choose(wish, "array")
    members = [v for v in group.values if not v.op.view and v is not group.lead]
    for i, v in enumerate(members):
        array = outputs.get(v)
        wish, more = (given[v], "") if v in given else describe(v, space, named)
        if array is not None and array not in names:
            names[array] = wardrobe.choose(wish, more or "array")
        named[v] = names[array] if array is not None else wardrobe.choose(wish, more)
        names[f"v{i}"] = named[v] if array is None else wardrobe.choose(f"{named[v]}_value")
    for j, s in enumerate(lowered.numbers):
        names[f"s{j}"] = wardrobe.choose(role_of(s, group.values))
    return names, named


def own_names(
    own: OwnKernel,
    given: Mapping[Value, str],
    nest: tuple[Mapping[str, str], Mapping[Value, str]] = ({}, {}),
    taken: Iterable[str] = (),
) -> dict[str, str]:
    """Names for the text of an operation's own kernel, by the words there.

    nest: the names of the nest that ends it, "acc" among them. taken: words that stay.
    """
    names, named = nest
    wardrobe = Wardrobe({*taken, *names.values(), *LOCALS["own"].values()})
    found = LOCALS["own"] | {text: dressed(word, names) for word, text in own.names.items()}
    for word, v, side in zip(own.arrays, own.values, own.arrays if own.whole else SIDES):
        more = side if own.whole else VIEWS.get(_kind(v), side)
        found[word] = wardrobe.choose(called(v, given), more)
    if own.ending is None and not own.whole:
        result = found[own.arrays[-1]] = wardrobe.choose(called(own.values[-1], given), "array")
        found["acc"] = wardrobe.choose(f"{result}_value")
    return found


def graph_names(
    graph: Graph, given: Mapping[Value, str], taken: Iterable[str] = ()
) -> dict[str, str]:
    """Names for the NumPy code of a graph: `x3` there is the value of that number."""
    wardrobe = Wardrobe(taken)
    named: dict[Value, str] = {}
    names: dict[str, str] = {}
    read = {called(v, given) for v in graph.inputs}
    for v, number in graph.numbered().items():
        space = Space(graph_shape(v), tuple(v.arg[0]) if v.op and v.op.kind == "reduce" else ())
        more = ""
        if v in given or v.op is None:
            wish = called(v, given)
            if v.op is not None and wish in read:
                wish = f"new_{wish}"
        elif v.op.view:
            wish = f"{named.get(shown_by(v), 'input')}_{VIEWS.get(v.op.name, v.op.name)}"
        else:
            wish, more = describe(v, space, named)
        names[f"x{number}"] = named[v] = wardrobe.choose(wish, more or "result")
    for s in graph.scalars:
        names[f"s{s.index}"] = wardrobe.choose(role_of(s, graph.body))
    return names


def graph_shape(v: Value) -> tuple[int, ...]:
    """The iteration space of one value: that of its operand, where it reduces."""
    if v.op is not None and v.op.kind == "reduce":
        return v.src[0].type.shape
    return v.type.shape if v.type.__class__ is not tuple else ()


def called(v: Value, given: Mapping[Value, str]) -> str:
    """What a value is called by one who only reads it: the user's name for it, for what it shows or
    for what was moved, else the operation that made it."""
    while v not in given and v.op is not None and (v.op.view or v.op.name == "transfer"):
        v = shown_by(v) if v.op.view else v.src[0]
    if v in given:
        return given[v]
    return "input" if v.op is None else RESULTS.get(v.op.name, v.op.name)


def _kind(v: Value) -> str:
    return v.op.name if v.op is not None else ""


# --- what stands above a kernel -------------------------------------------------------------------


def quantity(number: float, unit: str = "") -> str:
    """A number for people: 950, 12.3 k, 4.50 M."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {letter}{unit}"
    return f"{number:g} {unit}".strip()


@dataclass
class Facts:
    """What a person wants to know of a kernel before reading it.

    title: what it computes. reads, writes: name and type of its arrays. flops, read, written: as
    ir/cost.py counts them, bytes. lines: the user's, (file:line, text). more: further remarks.
    """

    title: str
    reads: list[tuple[str, Any]]
    writes: list[tuple[str, Any]]
    flops: int
    read: int
    written: int
    lines: list[tuple[str, str]] = field(default_factory=list)
    more: list[str] = field(default_factory=list)

    def text(self) -> list[str]:
        """The facts as lines."""
        found = [self.title, *self.more]
        for role, arrays in (("reads", self.reads), ("writes", self.writes)):
            shown = [f"{name}: {type_text(with_device(t, 'cpu'))}" for name, t in arrays]
            found += [f"{role if k == 0 else '':<7} {s}" for k, s in enumerate(shown)]
        moved = self.read + self.written
        intensity = f", {self.flops / moved:.2f} FLOP/B" if moved else ""
        found.append(
            f"{quantity(self.flops, 'FLOP')}, {quantity(self.read, 'B')} read, "
            f"{quantity(self.written, 'B')} written{intensity}"
        )
        width = max((len(place) for place, _ in self.lines), default=0)
        found += [f"{place:<{width}}  {text}".rstrip() for place, text in self.lines]
        return found


def commented(lines: list[str], language: str) -> str:
    """Lines as a comment of "c" (also CUDA C), or of "python" (also the loop IR)."""
    if language == "python":
        return "\n".join(f"# {line}".rstrip() for line in lines)
    safe = [line.replace("*/", "* /").replace("\\", "\\ ").rstrip("\\ ") for line in lines]
    return "/* " + "\n * ".join(safe) + "\n */"


def listed(names: list[str], most: int = 3) -> str:
    """Names in a row, the first few of many."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def over(group: Group) -> str:
    """A group's loop nest in words: "over [64, 48], each row along axis 1"."""
    if not group.axes:
        return f"over {list(group.shape)}"
    if math.prod(n for i, n in enumerate(group.shape) if i not in group.axes) == 1:
        return f"over {list(group.shape)}, all of it reduced"
    axes = ", ".join(map(str, group.axes))
    return f"over {list(group.shape)}, reducing {'axis' if len(group.axes) == 1 else 'axes'} {axes}"
