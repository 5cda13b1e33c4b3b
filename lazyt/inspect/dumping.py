"""Every stage of every plan as files: `LAZYT_DUMP=folder`, or `lazyt.dump(folder)`.

    folder/0001-matmul-relu/00-traced.ir
                            01-eliminate-dead-code.ir ...
                            groups.txt
                            plan.txt        inputs, kept values, workspace, live ranges
                            plan.py         the code that runs, with FLOPs, bytes and your lines
                            k0.loops, k0.py, k0.c, k0.cu, lazyt_math.h
                                            what each kernel computes, for every tier
    folder/0002-...

Where the code calls kernels (in the C tier and on devices: `k0(x1, x2)`, `g0(…)`), their files have
the names it calls them by, and those of NumPy calls the name of their kernel (`sort_7.py`).

A plan is made when a program comes back, so what runs only once leaves nothing here. A folder is
written whole under another name and then renamed, and a plan that is there already, from this
process, from a worker or from an earlier run, is not written again: the same script leaves the
same files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from lazyt.ir.node import Node
from lazyt.runtime import drain as runtime
from lazyt.runtime.plan import ON_COMPILE, Plan
from lazyt.warned import warn

from .holders import Held, held
from .program import ProgramView

FOLDER: list[str] = [""]
KNOWN: dict[str, str] = {}
NAMES = threading.local()  # .held: what the user's variables hold of the program drained last


def dump(folder: str | os.PathLike | None) -> None:
    """Follows the setting: listens to new plans, or no longer; see `lazyt.dump`."""
    KNOWN.clear()
    if folder is None:
        FOLDER[0] = ""
        if write in ON_COMPILE:
            ON_COMPILE.remove(write)
            runtime.OBSERVERS.remove(_look)
        return
    os.makedirs(folder, exist_ok=True)
    FOLDER[0] = os.path.abspath(folder)
    if write not in ON_COMPILE:
        ON_COMPILE.append(write)
        runtime.OBSERVERS.append(_look)


def _look(
    key: tuple, wanted: list[Node], keep: tuple[int, ...], index: dict[int, int], numbers: tuple
) -> None:
    """Notes who holds what of a program that a plan may be made for."""
    program = runtime.CACHE.programs.get(key)
    planned = program is not None and program.plan is not None
    NAMES.held = Held() if planned else held(wanted, index)


def view_of(plan: Plan) -> ProgramView:
    """A plan laid open."""
    names = getattr(NAMES, "held", Held()).kept(plan.keep)
    return ProgramView(plan.traced, frozenset(plan.code.memory.donated), names=names)


def write(plan: Plan) -> None:
    """Writes one plan, unless it is there."""
    try:
        write_into(Path(FOLDER[0]), view_of(plan))
    except OSError as error:
        warn(f"dump: cannot write to {FOLDER[0]}, dumping stops: {error}")
        dump(None)


def write_into(folder: Path, view: ProgramView) -> Path:
    """The folder that holds the plan's files, made if need be."""
    files = files_of(view)
    digest = _digest(files)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        taken = _scan(folder)
        if digest in KNOWN and (folder / KNOWN[digest]).is_dir():
            return folder / KNOWN[digest]
        target = folder / f"{taken + 1:04d}-{slug(view.name)}"
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
        try:
            for name, content in files.items():
                (draft / name).write_text(content)
            draft.chmod(0o755)
            draft.rename(target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        KNOWN[digest] = target.name
    return target


def files_of(view: ProgramView) -> dict[str, str]:
    """Name and content of every file of a plan."""
    files = {"00-traced.ir": view.ir.traced}
    for i, stage in enumerate(view.ir, 1):
        files[f"{i:02d}-{slug(stage.name)}.ir"] = stage.after
    files["groups.txt"] = f"{view.groups}\n"
    files["plan.txt"] = f"{view.plan}\n"
    head = "# " + view.summary().replace("\n", "\n# ")
    files["plan.py"] = f"{head}\n{view.dressed}"
    calls = any(kernel.call for kernel in view.pieces)
    for i, kernel in enumerate(view.pieces):
        name = (kernel.call or kernel.name) if calls else f"k{i}"
        for ending, content in kernel.texts.files().items():
            files[f"{name}.{ending}"] = content
        files |= kernel.texts.headers()
    return files


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^\w]+", "-", name).strip("-")


def _digest(files: dict[str, str]) -> str:
    text = files["00-traced.ir"] + files["plan.py"]
    return hashlib.sha256(text.encode()).hexdigest()


def _scan(folder: Path) -> int:
    """Learns the plans that other processes left; returns the highest number in use."""
    highest = 0
    names = set(KNOWN.values())
    for path in sorted(folder.iterdir()):
        number = re.match(r"(\d{4,})-", path.name)
        if number is None:
            continue
        highest = max(highest, int(number.group(1)))
        if path.name not in names:
            with contextlib.suppress(OSError):
                found = {n: (path / n).read_text() for n in ("00-traced.ir", "plan.py")}
                KNOWN[_digest(found)] = path.name
    return highest


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time, where the system has file locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
