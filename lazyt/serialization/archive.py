"""The container of a `.pt` file: a zip of uncompressed records, each at an address of its own.

    with open("x.pt", "wb") as file:
        archive = ArchiveWriter(file, "x")
        archive.write("data.pkl", b"...")       # the record x/data.pkl
        archive.close()                         # x/version, the id, the directory
    ArchiveReader(open("x.pt", "rb")).read("data.pkl")

Records are laid out byte by byte as PyTorch's writer lays them out (caffe2/serialize/
inline_container.cc and its miniz): what a record holds begins at a multiple of 64 bytes, after an
extra field "FB" of padding, and a descriptor follows it; so PyTorch can map a file and compute
where its storages are. Zip itself: PKWARE's APPNOTE 6.3.9.

A reader trusts nothing that it has not compared: a directory entry against the record's own header,
every extent against the file, every payload against its checksum, before it is used.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import zipfile
import zlib
from typing import Any, NamedTuple

ALIGNMENT = 64
LIMIT = 0xFFFFFFFF  # sizes and addresses from here on are written in 64 bits
FORMAT_VERSION = "1"  # storages stand in the order of their numbers
PRODUCED_VERSION = "3\n"

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_UTF8, _DESCRIBED = 0x0800, 0x0008

CORRUPT = (
    "PytorchStreamReader failed {what}. If you are seeing this error, there is a high likelihood "
    "that your checkpoint file is corrupted: it was not saved completely, or changed since."
)


class _Written(NamedTuple):
    """A record in the directory."""

    name: bytes
    flags: int
    checksum: int
    nbytes: int
    place: int


class ArchiveWriter:
    """Writes records to a file object, which need not be seekable.

    root: the folder in the archive that all names are in. checksums: whether CRCs are computed.
    """

    def __init__(self, file: Any, root: str, *, checksums: bool = True):
        self._file = file
        self._root = root
        self._checksums = checksums
        self._place = 0
        self._records: list[_Written] = []

    def write(self, name: str, payload: Any) -> None:
        """Writes one record. payload: bytes, or a vector of them."""
        data = memoryview(payload)
        nbytes = len(data)
        checksum = zlib.crc32(data) if self._checksums else 0
        path = f"{self._root}/{name}".encode()
        flags = _UTF8 | (_DESCRIBED if nbytes else 0)
        record = _Written(path, flags, checksum, nbytes, self._place)
        extra = _padding(self._place, len(path), nbytes)
        self._put(_LOCAL.pack(b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(path), len(extra)))
        self._put(path + extra)
        if nbytes:
            self._put(data)
            wide = nbytes >= LIMIT or record.place >= LIMIT
            self._put(
                struct.pack("<4sIQQ" if wide else "<4sIII", b"PK\7\10", checksum, nbytes, nbytes)
            )
        self._records.append(record)

    def close(self) -> None:
        """Writes what ends an archive. The file stays open."""
        self.write("version", PRODUCED_VERSION.encode())
        self.write(".data/serialization_id", self._id().encode())
        start = self._place
        for record in self._records:
            self._put(_entry(record))
        nbytes, end, count = self._place - start, self._place, len(self._records)
        self._put(_END64.pack(b"PK\6\6", 44, 798, 45, 0, 0, count, count, nbytes, start))
        self._put(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        few = min(count, 0xFFFF)
        self._put(_END.pack(b"PK\5\6", 0, 0, few, few, min(nbytes, LIMIT), min(start, LIMIT), 0))

    def _id(self) -> str:
        """Two numbers of twenty digits, of names and of contents: equal saves, equal ids."""
        names = hashlib.sha256(b"\0".join(r.name for r in self._records)).digest()
        checks = [record.checksum for record in self._records]
        contents = hashlib.sha256(struct.pack(f"<{len(checks)}I", *checks)).digest()
        return "".join(f"{int.from_bytes(half[:8], 'little'):020d}" for half in (names, contents))

    def _put(self, data: Any) -> None:
        self._place += len(data)
        while True:
            written = self._file.write(data)
            if not isinstance(written, int) or written >= len(data):
                return
            data = memoryview(data)[written:]  # a raw file takes as much as it can


def _padding(place: int, name: int, nbytes: int) -> bytes:
    """The extra field of a record's header that makes its payload begin at a multiple of 64."""
    wide = _wide_field(nbytes, place)
    fill = -(place + _LOCAL.size + name + len(wide) + 4) % ALIGNMENT
    return wide + b"FB" + struct.pack("<H", fill) + b"Z" * fill


def _wide_field(nbytes: int, place: int) -> bytes:
    """The zip64 field of a record, empty where 32 bits hold its numbers."""
    numbers = ([nbytes, nbytes] if nbytes >= LIMIT else []) + ([place] if place >= LIMIT else [])
    return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""


def _entry(record: _Written) -> bytes:
    """A record's entry in the directory."""
    extra = _wide_field(record.nbytes, record.place)
    nbytes = 0xFFFFFFFF if record.nbytes >= LIMIT else record.nbytes
    place = 0xFFFFFFFF if record.place >= LIMIT else record.place
    numbers = (0, 0, record.flags, 0, 0, 0, record.checksum, nbytes, nbytes, len(record.name))
    head = _CENTRAL.pack(b"PK\1\2", *numbers, len(extra), 0, 0, 0, 0, place)
    return head + record.name + extra


class Record(NamedTuple):
    """Where a record's payload lies in the file, and its checksum (None: not computed)."""

    start: int
    nbytes: int
    checksum: int | None


class ArchiveReader:
    """Reads records of a seekable file that begins with one; its directory is at the file's end.

    Errors: RuntimeError for a file that is no such archive, or one that was changed.
    """

    def __init__(self, file: Any):
        self._file = file
        try:
            listed = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, EOFError) as error:
            raise corrupt(f"reading zip archive: {error}") from None
        except (NotImplementedError, UnicodeError, IndexError) as error:
            raise corrupt(f"reading zip archive: {error}") from None
        self.nbytes = file.seek(0, 2)
        unchecked = not any(entry.CRC for entry in listed)
        self._records: dict[str, Record] = {}
        for entry in listed:
            folder, _, name = entry.filename.partition("/")
            if name in self._records:
                raise corrupt(f"reading zip archive: there are two records {name!r}")
            if folder != listed[0].filename.partition("/")[0]:
                raise corrupt(
                    f"reading zip archive: file in archive is not in a subdirectory {folder!r}"
                )
            self._records[name] = self._located(entry, unchecked)
        self._apart()

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def names(self) -> list[str]:
        """The records' names, without the folder they are in."""
        return list(self._records)

    def record(self, name: str) -> Record:
        """Where a record is. RuntimeError where there is none."""
        found = self._records.get(name)
        if found is None:
            raise corrupt(f"locating file {name}: file not found in archive")
        return found

    def read(self, name: str) -> bytes:
        """A record's bytes, checked."""
        found = self.record(name)
        data = bytearray(found.nbytes)
        self.read_into(name, data)
        return bytes(data)

    def read_into(self, name: str, target: Any) -> None:
        """Fills a buffer of exactly the record's size, and checks what it was filled with."""
        found = self.record(name)
        view = memoryview(target)
        if view.nbytes != found.nbytes:
            raise corrupt(f"reading file {name}: it has {found.nbytes} bytes, not {view.nbytes}")
        self._file.seek(found.start)
        fill(self._file, view, name)
        if found.checksum is not None and zlib.crc32(view) != found.checksum:
            raise corrupt(f"reading file {name}: its checksum is another")

    def _located(self, entry: zipfile.ZipInfo, unchecked: bool) -> Record:
        """The place of a record, by its own header, which has to agree with the directory."""
        name = entry.filename
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
            raise corrupt(f"reading file {name}: it is compressed or encrypted")
        if entry.compress_size != entry.file_size:
            raise corrupt(f"reading file {name}: its two sizes differ")
        self._file.seek(max(entry.header_offset, 0))
        head = self._file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or entry.header_offset < 0:
            raise corrupt(f"reading file {name}: its header lies outside of the file")
        magic, *_, name_length, extra_length = _LOCAL.unpack(head)
        path = self._file.read(name_length)
        if magic != b"PK\3\4" or path.decode("utf-8", "replace") != entry.orig_filename:
            raise corrupt(f"reading file {name}: its header is not where the directory says")
        start = entry.header_offset + _LOCAL.size + name_length + extra_length
        if start + entry.file_size > self.nbytes:
            raise corrupt(f"reading file {name}: it ends behind the end of the file")
        return Record(start, entry.file_size, None if unchecked else entry.CRC)

    def _apart(self) -> None:
        """Refuses records that lie over each other."""
        end = 0
        for record in sorted(self._records.values()):
            if record.nbytes and record.start < end:
                raise corrupt("reading zip archive: two records share bytes")
            end = max(end, record.start + record.nbytes)


def corrupt(what: str) -> RuntimeError:
    """The error about a damaged file, in PyTorch's words."""
    return RuntimeError(CORRUPT.format(what=what))


def fill(file: Any, view: memoryview, name: str) -> None:
    """Reads a whole buffer from a file object. RuntimeError where the file ends before."""
    done = 0
    while done < view.nbytes:
        if hasattr(file, "readinto"):
            count = file.readinto(view[done:])
        else:
            piece = file.read(view.nbytes - done)
            count = len(piece)
            view[done : done + count] = piece
        if not count:
            raise corrupt(f"reading file {name}: the file ends within it")
        done += count


def swapped(byteorder: bytes) -> bool:
    """Whether what was written in that order has to be turned. ValueError for no byte order."""
    order = byteorder.decode("ascii", "replace")
    if order not in ("little", "big"):
        raise ValueError(f"Unknown endianness type: {order}")
    return order != sys.byteorder
