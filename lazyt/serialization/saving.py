"""torch.save: an object, and the tensors in it, into a file that PyTorch reads.

    save({"net": net.state_dict(), "epoch": 3}, "run.pt")

The file holds a pickle of the object, `data.pkl`, and the bytes of every storage, `data/0`, …
(archive.py). Two tensors of one storage are two tensors of one storage in the file.
"""

from __future__ import annotations

import os
import pickle
import sys
from types import ModuleType
from typing import Any

from . import legacy, options
from .archive import ALIGNMENT, FORMAT_VERSION, ArchiveWriter
from .files import check_writable_file, is_path, writing
from .pickler import PROTOCOL, pickled


def save(
    obj: Any,
    f: Any,
    pickle_module: ModuleType = pickle,
    pickle_protocol: int = PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Saves an object to a file.

    f: a path, or a file object with `write` (and `flush`, if it has it). A path is written
    atomically: beside it first, to the disk, then in its place (files.py).
    pickle_module: what pickles the object. Another one than `pickle` writes lazyt's own names, so
    that only lazyt can read the file.

    Errors: AttributeError for what is no file; RuntimeError where the folder does not exist, or for
    tensors of two dtypes on one storage; PicklingError and the like for what cannot be pickled.
    """
    check_writable_file(f)
    if not _use_new_zipfile_serialization:
        with writing(f) as file:
            legacy.save(obj, file, pickle_module, pickle_protocol)
        return
    data, storages = pickled(obj, pickle_module, pickle_protocol)
    with writing(f) as file:
        archive = ArchiveWriter(file, _root(f), checksums=options.get_crc32_options())
        archive.write("data.pkl", data)
        archive.write(".format_version", FORMAT_VERSION.encode())
        archive.write(".storage_alignment", str(ALIGNMENT).encode())
        if not _disable_byteorder_record:
            archive.write("byteorder", sys.byteorder.encode())
        for key, storage in storages.saved.items():
            archive.write(f"data/{key}", storage.payload())
        archive.close()


def _root(f: Any) -> str:
    """The folder in the archive: the file's name without what is after its last dot."""
    if not is_path(f):
        return "archive"
    name = os.path.basename(os.fspath(f))
    root = name.rpartition(".")[0] if "." in name else name
    if not root:
        raise RuntimeError(f"invalid file name: {os.fspath(f)}")
    return root
