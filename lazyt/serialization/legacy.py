"""The format before PyTorch 1.6: pickles one after the other, and the storages behind them.

    number, version, {"little_endian": …}, the object, ["0", "1"], then of each storage
    its length (int64) and its bytes

Written with `_use_new_zipfile_serialization=False`, read whenever a file is no zip archive. The tar
archives before that (0.1) are not read.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from lazyt.ir.dtypes import DType

from .archive import corrupt, fill
from .locations import restorer
from .pickler import pickled
from .storages import LoadedStorage, Read, disk_dtype, named_storage, off_disk

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
_SIZES = {"short": 2, "int": 4, "long": struct.calcsize("l")}


def save(obj: Any, file: Any, pickle_module: ModuleType, protocol: int) -> None:
    """Writes an object in the old format."""
    data, storages = pickled(obj, pickle_module, protocol, legacy=True)
    little = sys.byteorder == "little"
    system = {
        "protocol_version": PROTOCOL_VERSION,
        "little_endian": little,
        "type_sizes": _SIZES,
    }
    for head in (MAGIC_NUMBER, PROTOCOL_VERSION, system):
        file.write(pickle.dumps(head, protocol))
    file.write(data)
    keys = sorted(storages.saved)
    file.write(pickle.dumps(keys, protocol))
    for key in keys:
        file.write(struct.pack("<q", storages.saved[key].numel))
        file.write(storages.saved[key].payload().data)


def load(file: Any, map_location: Any, unpickled: Callable, arguments: dict[str, Any]) -> Any:
    """The object in a file of the old format.

    unpickled: reads a pickle from a file, given what loads its storages.

    Errors: RuntimeError for no such file; those of `unpickled`.
    """
    storages = _Storages(file, map_location)

    def next_pickle(load_storage: Callable = storages.none) -> Any:
        return unpickled(file, load_storage, arguments)

    if next_pickle() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = next_pickle()
    if version != PROTOCOL_VERSION:
        shown = version if isinstance(version, int) else type(version)
        raise RuntimeError(f"Invalid protocol version: {shown}")
    system = next_pickle()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RuntimeError("the file was written by a machine of the other byte order")
    result = next_pickle(storages.persistent_load)
    storages.read(next_pickle())
    return result


class _Storages:
    """Storages that are named in the pickle and read after it: until then they hold zeros."""

    def __init__(self, file: Any, map_location: Any):
        self._file, self._restore = file, restorer(map_location)
        place = file.tell()
        self._nbytes = file.seek(0, io.SEEK_END) - place
        file.seek(place)
        self._loaded: dict[str, Any] = {}
        self._arrays: dict[str, tuple[np.ndarray, DType]] = {}

    def none(self, saved: Any) -> Any:
        """Storages where none may be."""
        raise pickle.UnpicklingError("unsupported persistent id encountered")

    def persistent_load(self, saved: Any) -> Any:
        """The storage, or the class of a module, that a pickle means."""
        if isinstance(saved, tuple) and saved[:1] == ("module",) and len(saved) == 4:
            return saved[1]
        kind, key, location, numel = named_storage(saved, 6)
        if saved[5] is not None:
            raise pickle.UnpicklingError("storages that are views of others are not read")
        storage = self._loaded.get(key)
        if storage is None:
            dtype = kind.dtype
            if numel * dtype.itemsize > self._nbytes:
                raise corrupt(f"reading storage {key}: it has more bytes than the file")
            storage = LoadedStorage(dtype, numel, self._later(key))
            storage = self._loaded[key] = self._restore(storage, location)
        elif storage.dtype is not kind.dtype:
            raise pickle.UnpicklingError(f"storage {key} is said to be of two dtypes")
        return storage

    def _later(self, key: str) -> Read:
        def read(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
            array = np.zeros(shape, dtype.numpy)
            self._arrays[key] = array, dtype
            return array

        return read

    def read(self, keys: Any) -> None:
        """Fills what was made with what the rest of the file has. RuntimeError where it has not."""
        if not isinstance(keys, list) or {*map(str, keys)} != self._loaded.keys():
            raise corrupt("reading storages: the file has others than its pickle names")
        for key in map(str, keys):
            storage = self._loaded[key]
            if key not in self._arrays:
                storage.make((storage.size(),))
            array, dtype = self._arrays[key]
            head = bytearray(8)
            fill(self._file, memoryview(head), key)
            if struct.unpack("<q", head)[0] != array.size:
                raise corrupt(f"reading storage {key}: its length is another")
            data = np.empty(array.size, disk_dtype(dtype))
            fill(self._file, data.view(np.uint8).data, key)
            array[...] = off_disk(data, dtype).reshape(array.shape)
