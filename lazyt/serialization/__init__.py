"""torch.serialization: objects and their tensors in files, as PyTorch writes and reads them.

    torch.save(net.state_dict(), "net.pt")
    net.load_state_dict(torch.load("net.pt"))

| module | what is there |
|---|---|
| saving, loading | `save` and `load` |
| archive, files | the zip container; paths that are replaced as a whole |
| pickler, names, rebuild | objects into pickles, by PyTorch's names |
| unpickler, allowed | pickles read without trust, and what they may ask for |
| storages, locations | bytes and arrays; which device they go to |
| legacy, options, messages | the old format; settings; PyTorch's words |
| safetensors | the other format, through the `safetensors` library |
"""

from __future__ import annotations

from pickle import UnpicklingError

from .allowed import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from .files import FILE_LIKE, FileLike
from .inspecting import get_unsafe_globals_in_checkpoint
from .loading import load
from .locations import (
    MAP_LOCATION,
    default_restore_location,
    location_tag,
    register_package,
)
from .options import (
    LoadEndianness,
    get_crc32_options,
    get_default_load_endianness,
    set_crc32_options,
    set_default_load_endianness,
)
from .saving import save


class SourceChangeWarning(Warning):
    """The source of a saved class has changed: a category for filters, nothing here warns of it."""


DEFAULT_PROTOCOL = 2

__all__ = [
    "DEFAULT_PROTOCOL",
    "FILE_LIKE",
    "MAP_LOCATION",
    "FileLike",
    "LoadEndianness",
    "SourceChangeWarning",
    "UnpicklingError",
    "add_safe_globals",
    "clear_safe_globals",
    "default_restore_location",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "location_tag",
    "register_package",
    "safe_globals",
    "save",
    "set_crc32_options",
    "set_default_load_endianness",
]
