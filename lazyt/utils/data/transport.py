"""Answers of workers on their way: a pickle, and large arrays beside it.

    send(theirs, (7, batch))
    receive(ours)  # (7, batch)

Through a pickle and a pipe an array is copied five times, in pieces of a pipe's size. So the bytes
of a large one are written into a file that exists in memory only (memfd_create), and its descriptor
follows the pickle; the receiver reads the array from there. Where there are no such files,
everything goes through the pickle.
"""

from __future__ import annotations

import os
import pickle
import socket
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from lazyt.tensor import Tensor

__all__ = ["receive", "send"]

LARGE = 1 << 18  # bytes: below, the way through the pickle is as quick
_MOST_FILES = 64 if hasattr(os, "memfd_create") and hasattr(socket, "send_fds") else 0


class _Pickler(ForkingPickler):
    """Puts large arrays into files, whose descriptors are `files`, and numbers in their place."""

    def __init__(self, buffer: BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self.files: list[int] = []

    def persistent_id(self, obj: Any) -> Any:
        if (
            type(obj) is not np.ndarray
            or obj.nbytes < LARGE
            or len(self.files) >= _MOST_FILES
            or obj.dtype.hasobject
            or not obj.flags.c_contiguous
        ):
            return None
        self.files.append(os.memfd_create("answer"))
        _for_all(os.writev, self.files[-1], obj)
        return len(self.files) - 1, obj.shape, obj.dtype


class _Unpickler(pickle.Unpickler):
    """Reads arrays from files in the place of their numbers."""

    def __init__(self, data: bytes, files: list[int]) -> None:
        super().__init__(BytesIO(data))
        self._files = files

    def persistent_load(self, pid: Any) -> Any:
        number, shape, dtype = pid
        array = np.empty(shape, dtype)
        os.lseek(self._files[number], 0, os.SEEK_SET)
        _for_all(os.readv, self._files[number], array)
        return array


def _for_all(move: Any, file: int, array: np.ndarray) -> None:
    """Move all bytes of an array to or from a file, in as many calls as it takes."""
    left = array.reshape(-1).view(np.uint8).data
    while left:
        left = left[move(file, [left]) :]


def send(connection: Connection, answer: Any) -> None:
    """Send anything that can be pickled through one end of a two-way pipe.

    Raises:
        Exception: it cannot be pickled; nothing was sent then.
    """
    buffer = BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump(answer)
        buffer.write(bytes([len(pickler.files)]))  # behind the pickle's end, which nobody reads
        connection.send_bytes(buffer.getbuffer())
        if pickler.files:
            with socket.socket(fileno=os.dup(connection.fileno())) as beside:
                socket.send_fds(beside, [b"\0"], pickler.files)
    finally:
        for file in pickler.files:
            os.close(file)


def receive(connection: Connection) -> Any:
    """What was sent from the other end.

    Raises:
        EOFError, ConnectionError: there is no other end any more.
    """
    data = connection.recv_bytes()
    files: list[int] = []
    try:
        if count := data[-1]:
            with socket.socket(fileno=os.dup(connection.fileno())) as beside:
                files = socket.recv_fds(beside, 1, count)[1]
            if len(files) < count:
                raise EOFError
        return _Unpickler(data, files).load()
    finally:
        for file in files:
            os.close(file)


def _reduced(tensor: Tensor) -> Any:
    """A tensor's pickle between processes: a part of a memory goes without the rest of it."""
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd "
            "does not support crossing process boundaries.  If you just want to transfer the "
            "data, call detach() on the tensor before serializing (e.g., putting it on the queue)."
        )
    if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
        tensor = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return tensor.__reduce_ex__(4)


ForkingPickler.register(Tensor, _reduced)
