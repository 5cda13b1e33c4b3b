"""safetensors.torch for lazyt's tensors: the same functions, on the `safetensors` library.

    from lazyt.serialization.safetensors import load_file, save_file
    save_file(net.state_dict(), "net.safetensors")
    net.load_state_dict(load_file("net.safetensors"))

The format (https://github.com/huggingface/safetensors) holds tensors by name; nothing in it could
be run. The library reads and writes it (`pip install lazyt[safetensors]`); under `python -m lazyt`
this module is what `import safetensors.torch` gives.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from lazyt.dispatch import from_array
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType
from lazyt.runtime.drain import value_of
from lazyt.state import values_of
from lazyt.storage import geometry
from lazyt.tensor import Tensor

from .files import replacing
from .storages import disk_dtype, off_disk, on_disk

_CODES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
MISSING = (
    "Attempting to load a safetensors file but safetensors is not installed. Please install "
    "safetensors with: pip install safetensors"
)

Tensors = dict[str, Tensor]


def save(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """Tensors by name as the bytes of a file.

    metadata: texts that the file carries beside.

    Errors: ValueError for what is no dict of tensors, or for one that does not lie row-major;
    RuntimeError for tensors that share memory (`save_model` leaves all but one of them out).
    """
    library = _library()
    _check(tensors)
    held, specifications = [], {}  # the arrays have to live until they are written
    for name, t in tensors.items():
        array = on_disk(value_of(values_of(t)), t.dtype)
        held.append(array)
        specifications[name] = library.TensorSpec(
            dtype=t.dtype.name,
            shape=list(t.shape),
            data_ptr=array.ctypes.data,
            data_len=array.nbytes,
        )
    return bytes(library.serialize(specifications, metadata=metadata))


def save_file(
    tensors: Tensors, filename: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """`save` to a path, which is replaced as a whole. Errors: those of `save`, and OSError."""
    data = save(tensors, metadata)
    with replacing(filename) as file:
        file.write(data)


def load(data: bytes) -> Tensors:
    """Tensors by name out of the bytes of a file, on the CPU.

    Errors: SafetensorError for bytes that are none; RuntimeError for a dtype that is missing here.
    """
    read = _library().deserialize(data)
    return {name: _tensor(held) for name, held in sorted(read, key=lambda pair: pair[0])}


def load_file(
    filename: str | os.PathLike[str], device: Any = "cpu", *, backend: str = "mmap"
) -> Tensors:
    """Tensors by name out of a file, on a device. Errors: those of `load`, and OSError."""
    with open(filename, "rb") as file:
        tensors = load(file.read())
    return {name: t.to(device) for name, t in tensors.items()}


def save_model(
    model: Any,
    filename: str | os.PathLike[str],
    metadata: dict[str, str] | None = None,
    force_contiguous: bool = True,
) -> None:
    """The state dict of a module. Of tensors that share memory one is saved that shows all of it;
    the metadata says which name stands for the others.

    Errors: RuntimeError where none shows all of it; those of `save_file`.
    """
    state = model.state_dict()
    for kept, others in _duplicates(state).items():
        for other in others:
            metadata = metadata or {}
            metadata.setdefault(other, kept)
            del state[other]
    if force_contiguous:
        state = {name: t.contiguous() for name, t in state.items()}
    save_file(state, filename, metadata)


def load_model(
    model: Any,
    filename: str | os.PathLike[str],
    strict: bool = True,
    device: Any = "cpu",
    *,
    backend: str = "mmap",
) -> tuple[set[str], list[str]]:
    """Loads a file of `save_model` into a module: the names it has more, and those it lacks.

    Errors: RuntimeError where there are such, unless `strict` is False.
    """
    loaded = load_file(filename, device)
    duplicates = _duplicates(model.state_dict(), preferred=loaded)
    missing_names, unexpected = model.load_state_dict(loaded, strict=False)
    missing = set(missing_names)
    for others in duplicates.values():
        for other in others:
            if other in missing:
                missing.remove(other)
            else:
                unexpected.append(other)
    if strict and (missing or unexpected):
        text = f"Error(s) in loading state_dict for {type(model).__name__}:"
        for kind, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                listed = ", ".join(f'"{name}"' for name in sorted(names))
                text += f"\n    {kind} key(s) in state_dict: {listed}"
        raise RuntimeError(text)
    return missing, unexpected


def load_checkpoint(f: Any, map_location: Any) -> Tensors:
    """What torch.load gives for a path that ends in .safetensors.

    Errors: RuntimeError for a map_location that is no device, or without the library.
    """
    if isinstance(map_location, dict) or callable(map_location):
        kind = "dict" if isinstance(map_location, dict) else "callable"
        raise RuntimeError(
            f"Loading safetensors file with {kind} map_location is not supported. Use a device "
            "string or torch.device instead."
        )
    try:
        return load_file(f, "cpu" if map_location is None else map_location)
    except ImportError as error:
        raise RuntimeError(MISSING) from error


def _library() -> ModuleType:
    """The library. ImportError, with what to install, where there is none."""
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(f"{error}: pip install lazyt[safetensors]") from None
    return safetensors


def _tensor(held: dict[str, Any]) -> Tensor:
    """A tensor over the memory that the library has read it into."""
    name = _CODES.get(held["dtype"])
    dtype: DType | None = dtypes.BY_NAME.get(name or "")
    if dtype is None:
        raise RuntimeError(f"the file has tensors of {held['dtype']}, a dtype that is missing here")
    kind = disk_dtype(dtype)
    array = np.frombuffer(held["data"], kind.newbyteorder("<")).astype(kind, copy=False)
    return from_array(off_disk(array.reshape(held["shape"]), dtype), dtype)


def _check(tensors: Any) -> None:
    """ValueError and RuntimeError, in the library's words, for what it does not save."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise ValueError(
                f"Key `{name}` is invalid, expected torch.Tensor but received {type(t)}"
            )
    shared = [set(names) for names in _shared(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(
            "Some tensors share memory, this will lead to duplicate memory on disk and potential "
            f"differences when loading them again: {shared}. A potential way to correctly save "
            "your model is to use `save_model`. More information at "
            "https://huggingface.co/docs/safetensors/torch_shared_tensors"
        )
    for name, t in tensors.items():
        if not t.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. "
                "It either means you are trying to save tensors which are reference of each other "
                "in which case it's recommended to save only the full tensors, and reslice at load "
                "time, or simply call `.contiguous()` on your tensor to pack it before saving."
            )


def _shared(tensors: Tensors) -> list[list[str]]:
    """The names in groups: those of one group overlap in memory."""
    storages: dict[int, list[tuple[int, int, str]]] = {}
    for name, t in tensors.items():
        if t.numel():
            storages.setdefault(id(t._storage), []).append((*_ends(t), name))
    groups: list[list[str]] = []
    for places in storages.values():
        last = 0
        for start, stop, name in sorted(places):
            if start < last:
                groups[-1].append(name)
            else:
                groups.append([name])
            last = max(last, stop)
    return groups


def _ends(t: Tensor) -> tuple[int, int]:
    """Where a tensor begins in its storage, and where it ends."""
    offset, shape, strides = geometry(t)
    return offset, offset + sum((n - 1) * k for n, k in zip(shape, strides)) + 1


def _duplicates(tensors: Tensors, preferred: Iterable[str] = ()) -> dict[str, list[str]]:
    """Of every group of names that share memory: the one that is kept, and the others.

    Errors: RuntimeError where no tensor of a group shows the whole of its storage.
    """
    found: dict[str, list[str]] = {}
    for names in _shared(tensors):
        whole = tensors[names[0]]._storage.node.type.numel
        complete = sorted(name for name in names if tensors[name].numel() == whole)
        if not complete:
            raise RuntimeError(
                "Error while trying to find names to remove to save state dict, but found no "
                f"suitable name to keep for saving amongst: {set(names)}. None is covering the "
                "entire storage.Refusing to save/load the model since you could be storing much "
                "more memory than needed. Please refer to "
                "https://huggingface.co/docs/safetensors/torch_shared_tensors for more information."
            )
        wanted = set(preferred)
        kept = next((name for name in complete if name in wanted), complete[0])
        others = [name for name in sorted(names) if name != kept]
        if others:
            found[kept] = others
    return found


__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model"]
