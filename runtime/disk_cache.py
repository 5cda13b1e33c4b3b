"""The folder of compiled kernels: how an entry is written, and told from a broken one.

    seal(made); os.replace(made, path)    # an entry appears whole
    found = opened(path)                  # what was sealed and its digest; None where broken

An entry is a file followed by its SHA-256, which loaders ignore: a shared object that was cut off
would end the process that loads it, and one with other bytes in it would compute something else.
Where the folder takes nothing, entries lie in one that goes with the process.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

DIGEST_BYTES = 32

T = TypeVar("T")


def cache_folder() -> Path:
    """Where compiled kernels are kept: LAZYT_CACHE, else `lazyt` in the user's cache."""
    given = os.environ.get("LAZYT_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "lazyt"


def in_cache(kind: str, find: Callable[[Path], T]) -> T:
    """What `find` gives for the cache's folder of a kind; where that takes nothing (a full disk,
    somebody else's), for a folder that goes with the process."""
    try:
        return find(cache_folder() / kind)
    except OSError as error:
        try:
            found = find(passing_folder())
        except OSError:
            raise error from None
        warn_not_kept(error)
        return found


@lru_cache(maxsize=1)
def passing_folder() -> Path:
    """A folder that is removed when the process ends."""
    made = tempfile.mkdtemp(prefix="lazyt-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def warn_not_kept(error: OSError) -> None:
    """Says once that the cache takes nothing."""
    _warn_once(error.strerror or str(error))


@lru_cache(maxsize=8)
def _warn_once(reason: str) -> None:
    text = f"Compiled kernels are not kept for the next run: {reason}, {cache_folder()}"
    warnings.warn(text, RuntimeWarning, stacklevel=3)


# --- entries --------------------------------------------------------------------------------------


def seal(path: str) -> None:
    """Makes an entry of a file: its digest follows."""
    with open(path, "r+b") as file:
        digest = hashlib.sha256(file.read()).digest()
        file.write(digest)


def opened(path: Path) -> tuple[bytes, bytes] | None:
    """The content of an entry and its digest; None where it is not there, or broken and then
    removed."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == digest:
        return content, digest
    remove(path)
    return None


def intact(path: Path) -> bool:
    """Whether an entry is there and as it was written; a broken one is removed."""
    return opened(path) is not None


def remove(path: Path) -> None:
    """Removes an entry, if the folder lets go of it."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file, which appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(made, path)
    finally:
        Path(made).unlink(missing_ok=True)


def link(whole: Path, own: Path) -> None:
    """Another name for an entry, in one step: a process may have the one that had it loaded."""
    if own == whole:
        return
    with tempfile.TemporaryDirectory(dir=own.parent) as folder:
        made = Path(folder) / own.name
        try:
            os.link(whole, made)
        except OSError:
            shutil.copyfile(whole, made)
        os.replace(made, own)
