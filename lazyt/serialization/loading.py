"""torch.load: what was saved, out of a file of PyTorch's or lazyt's.

    load("run.pt")                            # tensors and plain values; nothing in it is run
    load("net.pt", weights_only=False)        # whatever was pickled: runs what the file says
    load("run.pt", map_location="cpu")

A file is read in three layers: records (archive.py), the pickle among them (unpickler.py), and the
places its tensors have in storages (storages.py).
"""

from __future__ import annotations

import io
import mmap as memory_maps
import os
import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from lazyt.ir.dtypes import DType
from lazyt.warned import warn

from . import legacy, messages, options
from .archive import ArchiveReader, corrupt, swapped
from .files import is_path, opened
from .locations import restorer
from .names import found, is_torch
from .storages import UNTYPED, LoadedStorage, Read, disk_dtype, named_storage, off_disk
from .unpickler import RestrictedUnpickler


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: ModuleType | None = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """The object that was saved to a file.

    f: a path or a seekable file object, opened for bytes.
    map_location: where storages go; None: where they were (locations.py).
    weights_only: True, the default, makes tensors, plain values and containers, and what
    `add_safe_globals` allowed, and refuses a file that asks for more. False unpickles it: **whoever
    wrote the file decides what is run.**
    mmap: storages are mapped from the file and read when they are needed; their checksums are not
    looked at.

    Errors: UnpicklingError for a file that asks for what is not allowed; RuntimeError for one that
    is damaged, or saved on a device that is not there; OSError as `open` raises it.
    """
    weights_only = _weights_only(weights_only, pickle_module)
    if pickle_load_args and weights_only:
        warn("pickle_load_args only works if `weights_only=False`.")
    pickle_load_args.setdefault("encoding", "utf-8")
    if is_path(f) and os.fspath(f).endswith(".safetensors"):
        from . import safetensors

        return safetensors.load_checkpoint(f, map_location)
    unpickled = _restricted if weights_only else _trusting(pickle_module or pickle)
    with opened(f) as file:
        if _is_zip(file):
            archive = ArchiveReader(file)
            _check_kind(archive, weights_only)
            source = _mapped(f) if mmap else None
            storages = _Storages(archive, source, map_location)
            data = io.BytesIO(archive.read("data.pkl"))
            result = unpickled(data, storages.persistent_load, pickle_load_args)
            storages.finish()
            return result
        if mmap:
            raise RuntimeError(messages.MMAP_LEGACY)
        return legacy.load(file, map_location, unpickled, pickle_load_args)


def _weights_only(given: bool | None, pickle_module: ModuleType | None) -> bool:
    """Whether nothing of a file is to be run: as the call says, or two variables of PyTorch's.

    Errors: RuntimeError for a module to unpickle with that would be without effect.
    """
    weights_only = pickle_module is None if given is None else bool(given)
    force, forbid = (
        os.environ.get(name, "0").lower() in ("1", "y", "yes", "true")
        for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    )
    if force and forbid:
        raise RuntimeError(messages.BOTH_FORCED)
    if force:
        weights_only = True
    elif forbid and given is None:
        warn(messages.NOT_FORCED, UserWarning)
        weights_only = False
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    return weights_only


def _is_zip(file: Any) -> bool:
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    return head == b"PK\3\4"


def _check_kind(archive: ArchiveReader, weights_only: bool) -> None:
    """RuntimeError for an archive that `save` did not write."""
    if "constants.pkl" in archive:
        raise RuntimeError(messages.TORCHSCRIPT_SAFE if weights_only else messages.TORCHSCRIPT)


def _mapped(f: Any) -> np.ndarray:
    """The bytes of a file, mapped: what is written to them stays here."""
    if not is_path(f):
        raise ValueError("f must be a file path in order to use the mmap argument")
    with open(f, "rb") as file:
        mapping = memory_maps.mmap(file.fileno(), 0, access=memory_maps.ACCESS_COPY)
    return np.frombuffer(mapping, np.uint8)


class _Storages:
    """The storages of an archive, each made when it is first named."""

    def __init__(self, archive: ArchiveReader, source: np.ndarray | None, map_location: Any):
        self._archive, self._source = archive, source
        self._restore = restorer(map_location)
        self._loaded: dict[str, Any] = {}
        named = "byteorder" in archive
        self._swap = swapped(archive.read("byteorder") if named else options.default_byteorder())

    def persistent_load(self, saved: Any) -> Any:
        """The storage that a pickle means. UnpicklingError for what means none."""
        kind, key, location, numel = named_storage(saved, 5)
        storage = self._loaded.get(key)
        if storage is None:
            dtype, name = kind.dtype, f"data/{key}"
            nbytes = self._archive.record(name).nbytes
            if numel * dtype.itemsize != nbytes:
                raise corrupt(f"reading file {name}: it has {nbytes} bytes for {numel} elements")
            made = LoadedStorage(dtype, numel, self._reader(name))
            storage = self._loaded[key] = self._restore(made, location)
        elif kind is not UNTYPED and getattr(storage, "dtype", None) is not kind.dtype:
            raise pickle.UnpicklingError(f"storage {key} is said to be of two dtypes")
        return storage

    def finish(self) -> None:
        """Reads, while the file is open, what no tensor lies on."""
        for storage in self._loaded.values():
            if isinstance(storage, LoadedStorage) and storage.fresh:
                storage.make((storage.size(),))

    def _reader(self, name: str) -> Read:
        def read(shape: tuple[int, ...], dtype: DType) -> np.ndarray:
            array = self._view(name, shape, disk_dtype(dtype))
            if array is None:
                array = np.empty(shape, disk_dtype(dtype))
                self._archive.read_into(name, array.reshape(-1).view(np.uint8))
            if self._swap:
                array = array.byteswap()
            return off_disk(array, dtype)

        return read

    def _view(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray | None:
        """The record in the mapped file; None where it is not mapped, or not aligned there."""
        start, nbytes, _ = self._archive.record(name)
        if self._source is None or start % dtype.itemsize:
            return None
        return self._source[start : start + nbytes].view(dtype).reshape(shape)


def _restricted(file: Any, persistent_load: Callable, arguments: dict[str, Any]) -> Any:
    try:
        machine = RestrictedUnpickler(file, persistent_load, encoding=arguments["encoding"])
        return machine.load()
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(messages.refused(str(error))) from None


def _trusting(pickle_module: ModuleType) -> Callable[[Any, Callable, dict[str, Any]], Any]:
    """Unpickling with nothing refused, where PyTorch's names mean lazyt's."""

    def unpickled(file: Any, persistent_load: Callable, arguments: dict[str, Any]) -> Any:
        class Unpickler(pickle_module.Unpickler):  # type: ignore[name-defined]
            def find_class(self, module: str, name: str) -> Any:
                if is_torch(module):
                    return found(module, name)
                return super().find_class(module, name)

            def persistent_load(self, saved: Any) -> Any:
                return persistent_load(saved)

        return Unpickler(file, **arguments).load()

    return unpickled
