"""The plan cache: programs by exact key, bounded in bytes and in number.

A program is worth a plan once it comes round again: at its second sighting. Where plans are made
and then never used, more sightings are asked for, since making one takes as long as a hundred
evaluations:

    for _ in range(10):
        text = model.generate(prompt, 500)      # every token: a longer text, another program

Here the first texts would compile 500 plans for one use each. `Cache.sightings` lets UNPAID of
them wait for their first use, and asks for one more sighting for every UNPAID that wait beyond.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan

# What plans may hold: workspaces, sources and keys. LAZYT_PLAN_BYTES sets it.
PLAN_BYTES = int(os.environ.get("LAZYT_PLAN_BYTES", str(512 << 20)))
PROGRAMS = 4096
UNPAID = 16


class Program:
    """What is known of one key: how often and when it was last seen, its numbers, its plan once it
    has one, and whether that was never used again since it was made (unpaid)."""

    __slots__ = ("numbers", "varying", "plan", "last", "size", "keep", "seen", "unpaid")

    def __init__(self, numbers: tuple, keep: tuple[int, ...], size: int):
        self.numbers = numbers
        self.varying: set[int] = set()
        self.plan: Plan | None = None
        self.keep = keep
        self.size = size
        self.last = 0
        self.seen = 0
        self.unpaid = False

    def note(self, kept: tuple[int, ...], values: tuple) -> None:
        """Learns from a sighting: which numbers vary, and which values are wanted."""
        known = self.plan.numbers if self.plan is not None else self.numbers
        self.varying.update(
            i
            for i, (a, b) in enumerate(zip(known, values))
            if a != b or a.__class__ is not b.__class__
        )
        self.keep = tuple(sorted({*self.keep, *kept}))


class Cache:
    """Programs by key, bounded in bytes and in number; the longest unused go first."""

    def __init__(self) -> None:
        self.programs: dict[tuple, Program] = {}
        self.clock = 0
        self.nbytes = 0
        self.compiled = 0
        self.unpaid = 0

    def sightings(self) -> int:
        """How often a program has to be seen before it is compiled."""
        return 2 + self.unpaid // UNPAID

    def made(self, program: Program) -> None:
        """Counts a plan that has just been made for a program."""
        self.compiled += 1
        self.unpaid += not program.unpaid
        program.unpaid = True

    def used(self, program: Program) -> None:
        """Notes that a plan was of use."""
        self.unpaid -= program.unpaid
        program.unpaid = False

    def trim(self) -> None:
        programs = self.programs
        if len(programs) <= PROGRAMS and self.nbytes <= PLAN_BYTES:
            return
        oldest = sorted(programs.items(), key=lambda item: item[1].last)
        for key, program in oldest[:-1]:
            if len(programs) <= PROGRAMS * 3 // 4 and self.nbytes <= PLAN_BYTES * 3 // 4:
                break
            del programs[key]
            self.nbytes -= program.size

    def clear(self) -> None:
        self.programs.clear()
        self.nbytes = self.unpaid = 0


CACHE = Cache()
