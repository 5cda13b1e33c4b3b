"""The plan cache: programs by exact key, bounded in bytes and in number."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan

# What plans may hold: workspaces, sources and keys. LAZYT_PLAN_BYTES sets it.
PLAN_BYTES = int(os.environ.get("LAZYT_PLAN_BYTES", str(512 << 20)))
PROGRAMS = 4096


class Program:
    """What is known of one key: when it was last seen, its numbers, its plan once it has one."""

    __slots__ = ("numbers", "varying", "plan", "last", "size", "keep")

    def __init__(self, numbers: tuple, keep: tuple[int, ...], size: int):
        self.numbers = numbers
        self.varying: set[int] = set()
        self.plan: Plan | None = None
        self.keep = keep
        self.size = size
        self.last = 0


class Cache:
    """Programs by key, bounded in bytes and in number; the longest unused go first."""

    def __init__(self) -> None:
        self.programs: dict[tuple, Program] = {}
        self.clock = 0
        self.nbytes = 0
        self.compiled = 0

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
        self.nbytes = 0


CACHE = Cache()
