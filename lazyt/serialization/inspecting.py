"""What a file would ask for, without loading it.

get_unsafe_globals_in_checkpoint("run.pt")     # ["__main__.Config"]
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Any

from .allowed import paths
from .archive import ArchiveReader
from .files import opened

NO_CHECKPOINT = "Expected input to be a checkpoint returned by torch.save"


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The classes and functions in a file that neither the defaults nor `add_safe_globals` allow,
    by their paths.

    Errors: ValueError for a file that is none of `save`, or damaged.
    """
    with opened(f) as file:
        start = file.tell()
        head = file.read(4)
        file.seek(start)
        if head != b"PK\3\4":
            raise ValueError(NO_CHECKPOINT)
        archive = ArchiveReader(file)
        if "constants.pkl" in archive:
            raise ValueError(f"{NO_CHECKPOINT} but got a torchscript checkpoint")
        data = archive.read("data.pkl")
    asked = set()
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            if (module, name) in NAME_MAPPING:
                module, name = NAME_MAPPING[module, name]
            asked.add(f"{IMPORT_MAPPING.get(module, module)}.{name}")
    return sorted(asked.difference(paths()))
