"""Files that are whole or not there: saving to a path never leaves half a file.

    with replacing("net.pt") as file:
        file.write(b"...")          # goes to .net.pt.<random>.tmp beside it
    # here it has been written to the disk and has taken the place of net.pt, at once

If the program fails or is killed in between, the old file is what it was.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, TypeAlias

FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
FILE_LIKE: TypeAlias = FileLike


def is_path(f: Any) -> bool:
    """Whether `f` names a file."""
    return isinstance(f, (str, os.PathLike))


def check_writable_file(f: Any) -> None:
    """AttributeError in PyTorch's words for what cannot be saved to."""
    if not is_path(f) and not hasattr(f, "write"):
        raise AttributeError(
            "expected 'f' to be string, path, or a file-like object with a 'write' attribute"
        )


def check_seekable(f: Any) -> None:
    """An error in PyTorch's words for a file object that cannot be read at any place."""
    try:
        f.seek(f.tell())
    except (io.UnsupportedOperation, AttributeError) as error:
        raise type(error)(
            f"{error}. You can only torch.load from a file that is seekable. Please pre-load the "
            "data into a buffer like io.BytesIO and try to load from it instead."
        ) from None


@contextlib.contextmanager
def opened(f: Any) -> Iterator[Any]:
    """A file object to read from: `f` itself, or the file it names, closed afterwards."""
    if is_path(f):
        with open(f, "rb") as file:
            yield file
    else:
        check_seekable(f)
        yield f


@contextlib.contextmanager
def writing(f: Any) -> Iterator[Any]:
    """A file object to write to: `f` itself, flushed afterwards, or a file that replaces `f`."""
    if is_path(f):
        with replacing(f) as file:
            yield file
    else:
        yield f
        if hasattr(f, "flush"):
            f.flush()


@contextlib.contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends without an exception.

    The file keeps its permissions and, where that is allowed, its owner; a link stays a link to it.
    What is no regular file (a pipe, /dev/null) is written directly, and so is a file in a folder
    where nothing can be made.

    Errors: RuntimeError where the folder does not exist; OSError as the system gives it.
    """
    target = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        named = os.path.dirname(os.fspath(path))
        raise RuntimeError(f"Parent directory {named} does not exist.")
    before = os.stat(target) if os.path.exists(target) else None
    direct = before is not None and not stat.S_ISREG(before.st_mode)
    if not direct:
        try:
            temporary, descriptor = _beside(folder, name)
        except PermissionError:
            if before is None:
                raise
            direct = True
    if direct:
        with open(target, "wb") as file:
            yield file
        return
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            if before is not None:
                _like(file.fileno(), before)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _settle(folder)


def _beside(folder: str, name: str) -> tuple[str, int]:
    """A new empty file in the folder, with the permissions a new file gets; its path and number."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    kept = name.encode()[:200].decode(errors="ignore")  # names have at most 255 bytes
    path = os.path.join(folder, f".{kept}.{secrets.token_hex(8)}.tmp")
    return path, os.open(path, flags, 0o666)


def _like(descriptor: int, before: os.stat_result) -> None:
    """Gives an open file the permissions, and if possible the owner, of the one it replaces."""
    if not hasattr(os, "fchmod"):
        return
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) != (before.st_uid, before.st_gid):
        with contextlib.suppress(OSError):
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _settle(folder: str) -> None:
    """Writes the folder's own entry to the disk, where folders can be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
