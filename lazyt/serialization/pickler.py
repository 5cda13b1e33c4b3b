"""Objects into pickles as PyTorch writes them: its names, and storages left out of the pickle.

    data, storages = pickled({"w": w})
    data             # the bytes of data.pkl; w is (storage "0", offset, size, stride, …) there
    storages         # {"0": SavedStorage}: what is to be written beside

For what PyTorch can save too the pickle is, byte for byte, the one that PyTorch writes.
"""

from __future__ import annotations

import io
import pickle
from types import FunctionType, ModuleType
from typing import Any

from lazyt.device import Device
from lazyt.functions.memory import TypedStorage, UntypedStorage
from lazyt.ir.dtypes import DType
from lazyt.parameter import Parameter
from lazyt.storage import Storage
from lazyt.tensor import Tensor

from .locations import location_tag
from .names import name_of
from .rebuild import reduced
from .storages import STORAGE_OF, UNTYPED, SavedStorage, StorageClass

PROTOCOL = 2
_PYTHON: Any = pickle._Pickler
_OWN_REDUCE = (Tensor.__reduce_ex__, Parameter.__reduce_ex__)
# Neither tensors nor storages: most of what is pickled, and asked for first.
_PLAIN = {int, float, bool, str, type(None), list, tuple, dict}
TWO_TYPES = "Cannot save multiple tensors or storages that view the same data as different types"


class Storages:
    """The storages that a pickle refers to, numbered as they are met."""

    def __init__(self, legacy: bool = False) -> None:
        self._more = (None,) if legacy else ()  # the old format says which storage it is a view of
        self.saved: dict[str, SavedStorage] = {}
        self._met: dict[int, tuple[str, SavedStorage]] = {}

    def stand_in(self, storage: Storage, kind: StorageClass) -> SavedStorage:
        """What stands for a storage. RuntimeError where it was met with other elements."""
        met = self._met.get(id(storage))
        if met is None:
            key, stand_in = str(len(self.saved)), SavedStorage(storage, kind)
            self.saved[key] = stand_in
            self._met[id(storage)] = key, stand_in
            return stand_in
        if met[1].kind is not kind and storage.node.type.numel:
            raise RuntimeError(TWO_TYPES)
        return met[1]

    def persistent_id(self, thing: Any) -> tuple | None:
        """How a file names a storage; None for what is pickled itself."""
        if isinstance(thing, TypedStorage):
            kind = STORAGE_OF.get(thing.dtype.name, UNTYPED)
            thing = self.stand_in(thing._storage, kind)
        elif isinstance(thing, UntypedStorage):
            thing = self.stand_in(thing._storage, UNTYPED)
        if thing.__class__ is not SavedStorage:
            return None
        key, _ = self._met[id(thing.storage)]
        return "storage", thing.kind, key, location_tag(thing), thing.numel, *self._more


def pickled(
    thing: Any, pickle_module: ModuleType, protocol: int, *, legacy: bool = False
) -> tuple[bytes, Storages]:
    """The pickle of an object, and the storages it refers to.

    Another module than `pickle` writes the names it finds, lazyt's own.
    """
    storages, buffer = Storages(legacy), io.BytesIO()
    kind = _Pickler if pickle_module is pickle else _with_tensors(pickle_module.Pickler)
    pickler = kind(buffer, protocol)
    pickler.storages = storages
    pickler.dump(thing)
    return buffer.getvalue(), storages


class _Tensors:
    """Part of a pickler: tensors by place in a storage."""

    storages: Storages

    def persistent_id(self, thing: Any) -> tuple | None:
        return None if thing.__class__ in _PLAIN else self.storages.persistent_id(thing)

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, Tensor) and type(thing).__reduce_ex__ in _OWN_REDUCE:
            return reduced(thing, self.storages.stand_in)
        given = getattr(super(), "reducer_override", None)
        return NotImplemented if given is None else given(thing)


class _Pickler(_Tensors, _PYTHON):
    """Python's own pickler, where a class or function of lazyt goes by PyTorch's name."""

    def reducer_override(self, thing: Any) -> Any:
        if thing.__class__ in _PLAIN:
            return NotImplemented
        if isinstance(thing, (DType, StorageClass)):
            return thing.name  # a global
        if isinstance(thing, Device):
            return Device, (thing.type,) if thing.index is None else (thing.type, thing.index)
        return super().reducer_override(thing)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        known = name_of(obj)
        if known is None:
            super().save_global(obj, name)
            return
        module, qualified = known
        if self.proto >= 4:
            self.save(module)
            self.save(qualified)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{qualified}\n".encode())
        self.memoize(obj)

    dispatch = {**_PYTHON.dispatch, FunctionType: save_global}


def _with_tensors(base: type) -> Any:
    """Another module's pickler that saves tensors and storages as ours does."""
    return type("Pickler", (_Tensors, base), {})
