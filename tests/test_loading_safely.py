"""Files that are damaged or mean harm: an error, or what was saved; nothing of them runs.

Three kinds of files are made from sound ones, with fixed seeds: bytes changed anywhere (whatever a
checksum covers must be found), pickles changed under a right checksum, and pickles written by hand
to run something, to take memory or to take for ever. All are loaded in little memory.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import random
import resource
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import time_limit

import lazyt as torch
from lazyt.serialization.allowed import DEFAULT
from lazyt.serialization.archive import ArchiveWriter

# Everything that loading may raise about a file, damaged or not allowed.
CLEAR = (RuntimeError, pickle.UnpicklingError, EOFError)
MIB = 1 << 20


@contextmanager
def little_memory(mebibytes: int = 256) -> Iterator[None]:
    """Inside, the process can map so much more; a MemoryError is what happens beyond."""
    if not sys.platform.startswith("linux"):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + mebibytes * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    with little_memory(), time_limit(60), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a protocol that is none
        yield


def file_of(thing: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


def archive_of(data: bytes, *storages: bytes) -> io.BytesIO:
    """A sound archive around a pickle."""
    buffer = io.BytesIO()
    writer = ArchiveWriter(buffer, "archive")
    writer.write("data.pkl", data)
    for key, storage in enumerate(storages):
        writer.write(f"data/{key}", storage)
    writer.close()
    buffer.seek(0)
    return buffer


def things(seed: int) -> Any:
    torch.manual_seed(seed)
    x = torch.randn(3, 5)
    return {
        "x": x,
        "view": x[1:, ::2],
        "half": x.bfloat16(),
        "whole": torch.arange(seed, seed + 9),
        "flag": x > 0,
        "net": torch.nn.Linear(2, 2).state_dict(),
        "p": torch.nn.Parameter(torch.ones(2)),
        "rest": [1, 2.5, "text", None, (True, seed), collections.OrderedDict(a=b"ab"), 10**30],
    }


def text_of(thing: Any) -> str:
    """A text that says every bit of what was loaded."""
    if isinstance(thing, torch.Tensor):
        place = thing.shape, thing.stride(), thing.dtype, thing.requires_grad, type(thing).__name__
        return f"{place} {thing.detach().double().numpy().tobytes().hex()}"
    if isinstance(thing, dict):
        return "".join(f"{key!r}: {text_of(value)}," for key, value in thing.items())
    if isinstance(thing, (list, tuple)):
        return f"{type(thing).__name__}({','.join(map(text_of, thing))})"
    return repr(thing)


# --- damage ---------------------------------------------------------------------------------------


def flip(data: bytearray, draw: random.Random, other: bytes) -> None:
    place = draw.randrange(len(data))
    data[place] ^= 1 << draw.randrange(8)


def flips(data: bytearray, draw: random.Random, other: bytes) -> None:
    for _ in range(draw.randrange(2, 20)):
        flip(data, draw, other)


def truncate(data: bytearray, draw: random.Random, other: bytes) -> None:
    del data[draw.randrange(len(data)) :]


def cut_out(data: bytearray, draw: random.Random, other: bytes) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 2, 64, 500))]


def repeat(data: bytearray, draw: random.Random, other: bytes) -> None:
    start, length = draw.randrange(len(data)), draw.choice((1, 4, 64, 500))
    data[start:start] = data[start : start + length]


def splice(data: bytearray, draw: random.Random, other: bytes) -> None:
    """Bytes of another file in the same place."""
    start, length = draw.randrange(len(data)), draw.choice((8, 64, 200, 1500))
    data[start : start + length] = other[start : start + length]


def clear(data: bytearray, draw: random.Random, other: bytes) -> None:
    start, length = draw.randrange(len(data)), draw.choice((4, 16, 100, 4096))
    data[start : start + length] = bytes(len(data[start : start + length]))


def resize(data: bytearray, draw: random.Random, other: bytes) -> None:
    """Another number in a header or in the directory: a size, an offset, a checksum, a method."""
    marks = (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\10")
    starts = [i for i in range(len(data) - 60) if data[i : i + 4] in marks]
    place = draw.choice(starts) + draw.randrange(4, 46)
    number = draw.choice((0, 1, 8, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, draw.randrange(1 << 32)))
    form = draw.choice("HI")
    data[place : place + struct.calcsize(form)] = struct.pack(
        form, number & (2 ** (16 if form == "H" else 32) - 1)
    )


def exchange(data: bytearray, draw: random.Random, other: bytes) -> None:
    """Two entries of the directory with each other's places, or one of them twice."""
    starts = [i for i in range(len(data) - 46) if data[i : i + 4] == b"PK\1\2"]
    a, b = draw.sample(starts, 2)
    field = slice(42, 46) if draw.random() < 0.5 else slice(16, 28)
    one, two = (bytes(data[k + field.start : k + field.stop]) for k in (a, b))
    data[a + field.start : a + field.stop] = two
    if draw.random() < 0.7:
        data[b + field.start : b + field.stop] = one


DAMAGES = [flip, flips, truncate, cut_out, repeat, splice, clear, resize, exchange]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_damaged_files(damage: Callable) -> None:
    """112 of each kind, 1,008 in all: an error, or exactly what was saved."""
    files = [file_of(things(seed)) for seed in (1, 2)]
    assert len(files[0]) == len(files[1])
    whole = [text_of(torch.load(io.BytesIO(data))) for data in files]
    refused = 0
    for seed in range(112):
        draw = random.Random(f"{damage.__name__} {seed}")
        which = draw.randrange(2)
        data = bytearray(files[which])
        damage(data, draw, files[1 - which])
        try:
            back = torch.load(io.BytesIO(data))
        except CLEAR:
            refused += 1
        else:
            assert text_of(back) == whole[which], seed
    assert refused > 25  # bytes between records do not matter


@pytest.mark.parametrize("damage", DAMAGES[:7], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["pickle", "old"])
def test_damage_that_no_checksum_sees(damage: Callable, kind: str) -> None:
    """A pickle under a right checksum, and the old format, which has none: an error or anything
    that is allowed."""
    storages = []
    if kind == "old":
        files = [file_of(things(seed), _use_new_zipfile_serialization=False) for seed in (1, 2)]
    else:
        zipped = zipfile.ZipFile(io.BytesIO(file_of(things(1))))
        files = [zipped.read("archive/data.pkl")] * 2
        storages = [zipped.read(f"archive/data/{k}") for k in range(7)]
    refused = 0
    for seed in range(150):
        draw = random.Random(f"{damage.__name__} {kind} {seed}")
        data = bytearray(files[0])
        damage(data, draw, files[1])
        try:
            torch.load(io.BytesIO(data) if kind == "old" else archive_of(data, *storages))
        except CLEAR:
            refused += 1
    assert refused > 25 or damage is splice


def test_a_payload_that_another_record_has(tmp_path: Path) -> None:
    """Records that lie over each other are refused, whatever their checksums say."""
    data = file_of([torch.ones(4), torch.zeros(4)])
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"PK\1\2"]
    entries = {data[i + 46 : i + 46 + data[i + 28]]: i for i in starts}
    one, two = entries[b"archive/data/0"], entries[b"archive/data/1"]
    header = struct.unpack("<I", data[one + 42 : one + 46])[0]
    changed = bytearray(data)
    changed[two + 42 : two + 46] = data[one + 42 : one + 46]
    changed[two + 16 : two + 20] = data[one + 16 : one + 20]
    with pytest.raises(RuntimeError, match="its header is not where the directory says"):
        torch.load(io.BytesIO(changed))
    changed[one + 46 : one + 60] = b"archive/data/1"
    changed[header + 30 : header + 44] = b"archive/data/1"
    with pytest.raises(RuntimeError, match="there are two records 'data/1'"):
        torch.load(io.BytesIO(changed))


# --- harm -----------------------------------------------------------------------------------------

G = lambda module, name: pickle.GLOBAL + f"{module}\n{name}\n".encode()
T = lambda text: pickle.BINUNICODE + struct.pack("<I", len(text.encode())) + text.encode()
N = lambda number: pickle.LONG1 + bytes([9]) + number.to_bytes(9, "little")
ODICT = G("collections", "OrderedDict")
FLOATS = G("torch", "FloatStorage")


def storage(key: str = "0", numel: bytes = b"K\x04", kind: bytes = FLOATS) -> bytes:
    return b"(" + T("storage") + kind + T(key) + T("cpu") + numel + b"tQ"


def tensor(offset: bytes, size: bytes, stride: bytes, grad: bytes = b"\x89") -> bytes:
    """The pickle of a tensor on four floats."""
    arguments = storage() + offset + size + stride + grad + ODICT + b")R"
    return G("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


REFUSED = {
    "os.system": (G("os", "system") + T("touch ran") + b"\x85R", "whose module os is blocked"),
    "posix": (G("posix", "system") + T("touch ran") + b"\x85R", "whose module posix is blocked"),
    "eval": (G("builtins", "eval") + T("1") + b"\x85R", r"GLOBAL eval was not an allowed global"),
    "exec by its old name": (G("__builtin__", "eval") + T("1") + b"\x85R", "GLOBAL eval was not"),
    "getattr": (G("builtins", "getattr") + b")R", "GLOBAL getattr was not"),
    "a dotted name": (G("torch", "Tensor.numpy") + b")R", r"GLOBAL torch\.Tensor\.numpy was not"),
    "a module of lazyt": (G("lazyt.serialization.files", "os") + b")R", "was not an allowed"),
    "torch.load": (G("torch", "load") + T("x") + b"\x85R", r"GLOBAL torch\.load was not"),
    "a function by a string": (T("os") + T("system") + b"\x93", "Unsupported operand 147"),
    "an instance": (b"(i" + b"os\nsystem\n", "Unsupported operand 105"),
    "an object": (b"(" + G("torch", "Tensor") + b"o", "Unsupported operand 111"),
    "an extension": (b"\x82\x01", "Unsupported operand 130"),
    "keyword arguments": (G("torch", "Size") + b")}\x92", "Unsupported operand 146"),
    "a buffer": (b"\x97", "Unsupported operand 151"),
    "a text that names a storage": (b"Pos\n", "Unsupported operand 80"),
    "calling a tensor": (G("torch", "Tensor") + N(10**12) + b"\x85R", "call reduce for unrecog"),
    "calling a parameter": (G("torch.nn.parameter", "Parameter") + b")R", "call reduce for unr"),
    "calling a dtype": (G("torch", "float32") + b")R", "call reduce for unrecognized function"),
    "calling a text": (T("x") + b")R", "call reduce for unrecognized function <class 'str'>"),
    "new tensors": (G("torch", "Tensor") + N(10**12) + b"\x85\x81", "Can only create new object"),
    "state of a class": (ODICT + b"}" + T("get") + b"K\x01sb", "Can only build Tensor"),
    "state of a function": (G("torch._utils", "_rebuild_tensor_v2") + b"}b", "Can only build"),
    "state of a text": (T("x") + b"}b", "Can only build Tensor"),
    "slots of an ordered dict": (ODICT + b")RN}" + T("a") + b"K\x01s\x86b", "the state of an Ord"),
    "items of a tuple": (b")K\x01K\x02s", "Can only SETITEM for dict"),
    "items of a class": (ODICT + b"(K\x01K\x02u", "Can only SETITEMS for dict"),
    "an odd item": (b"}(K\x01u", "odd number of items"),
    "appending to a set": (G("builtins", "set") + b"]\x85RK\x01a", "Can only append to lists"),
    "appending to a text": (T("x") + b"(e", "Can only extend lists"),
    "a list as a key": (b"}]K\x01s", "unhashable type: 'list'"),
    "a list in a set": (G("builtins", "set") + b"]]a\x85R", "unhashable type: 'list'"),
    "a great bytearray": (G("builtins", "bytearray") + N(10**12) + b"\x85R", "made of bytes"),
    "a great counter": (G("collections", "Counter") + T("abc") + b"\x85R", "made of a list"),
    "a codec": (G("_codecs", "encode") + T("x") + T("zlib") + b"\x86R", "Only bytes in latin1"),
    "a complex text": (G("builtins", "complex") + T("1") + T("2") + b"\x86R", "of two floats"),
    "a size of texts": (G("torch", "Size") + b"K\x01\x85R", "TypeError: 'int' object is not"),
    "a layout": (G("torch.serialization", "_get_layout") + T("x") + b"\x85R", "layout that is mis"),
    "no stack": (b"a", "stack underflow"),
    "no mark": (b"t", "could not find MARK"),
    "no memo": (b"h\x07", "Memo value not found at index 7"),
    "an endless text": (b"X\xff\xff\xff\xff", "truncated"),
    "a text that is none": (b"X\1\0\0\0\xff", "a text in the pickle is none"),
    "an endless line": (b"ctorch", "truncated"),
    "a storage that is a text": (T("0") + b"Q", "must be tuple or int, but got <class 'str'>"),
    "another persistent thing": (b"(" + T("module") + b"K\x01tQ", "Only persistent_load of stor"),
    "no storage": (b"(" + T("storage") + b"tQ", "names none"),
    "a storage of a class": (storage(kind=ODICT), "names none"),
    "minus elements": (storage(numel=b"J\xff\xff\xff\xff"), "names none"),
    "a storage twice": (storage() + storage(kind=G("torch", "IntStorage")), "of two dtypes"),
    "a subclass": (
        G("torch._tensor", "_rebuild_from_type_v2") + b"(" + G("collections", "Counter") + ODICT
        + b")}tR",
        "that makes no tensor",
    ),
    "a tensor of no storage": (
        G("torch._utils", "_rebuild_tensor_v2") + b"(K\x01K\x00))\x89NtR",
        "a tensor needs a storage",
    ),
    "the insides of a tensor": (
        G("torch._tensor", "_rebuild_from_type_v2") + b"("
        + G("torch._utils", "_rebuild_tensor_v2") + G("torch", "Tensor")
        + tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85").removesuffix(b"R").removeprefix(
            G("torch._utils", "_rebuild_tensor_v2")
        )
        + b"N}" + T("_storage") + b"K\x01s\x86tR",
        "a tensor has no attribute '_storage' of a program",
    ),
    "attributes that are no texts": (
        G("torch._utils", "_rebuild_parameter_with_state") + b"("
        + tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85") + b"\x88N}K\x01K\x02stR",
        "attributes of a tensor are named by texts",
    ),
    "a parameter of no tensor": (
        G("torch._utils", "_rebuild_parameter") + b"(K\x01\x89NtR",
        "a Parameter needs a tensor",
    ),
}  # fmt: skip
DAMAGED = {
    "beyond the storage": (tensor(b"K\x01", b"K\x04\x85", b"K\x01\x85"), "the storage has 4"),
    "before the storage": (tensor(b"J\xff\xff\xff\xff", b"K\x01\x85", b"K\x01\x85"), "not such"),
    "backwards": (tensor(b"K\x03", b"K\x04\x85", b"J\xff\xff\xff\xff\x85"), "not such"),
    "minus elements": (tensor(b"K\x00", b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), "not such"),
    "a great stride": (tensor(b"K\x00", b"K\x02\x85", N(1 << 63) + b"\x85"), "not such"),
    "two sizes, one stride": (tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x01\x85"), "not such"),
    "a size of texts": (tensor(b"K\x00", T("ab") + b"\x85", b"K\x01\x85"), "not such"),
    "100 dimensions": (
        tensor(b"K\x00", b"(" + b"K\x01" * 100 + b"t", b"(" + b"K\x01" * 100 + b"t"),
        "not such",
    ),
    "a gradient that is a number": (
        tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85", b"K\x01"),
        "requires_grad must be a bool",
    ),
    "more elements than bytes": (storage(numel=N(1 << 62)), "it has 16 bytes for"),
    "fewer elements than bytes": (storage(numel=b"K\x03"), "it has 16 bytes for 3 elements"),
    "another record": (storage(key="../data.pkl"), "file not found in archive"),
    "the pickle itself": (storage(key="pkl"), "file not found in archive"),
    "a missing dtype": (storage(kind=G("torch", "QInt8Storage")), r"tensors of torch\.qint8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, message = REFUSED[name]
    with pytest.raises(pickle.UnpicklingError, match=message) as caught:
        torch.load(archive_of(b"\x80\x02" + data + b".", bytes(16)))
    assert str(caught.value).startswith("Weights only load failed.")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", DAMAGED)
def test_tensors_that_are_none(name: str) -> None:
    data, message = DAMAGED[name]
    with pytest.raises(RuntimeError, match=message):
        torch.load(archive_of(b"\x80\x02" + data + b".", bytes(16)))


def test_nothing_runs_while_a_file_is_refused() -> None:
    """What stands before the thing that is not allowed has not been called either: it is only
    looked up, as a value."""

    class Canary:
        calls = 0

        def __reduce__(self) -> tuple:
            return (called, ())

    def called() -> None:
        Canary.calls += 1

    globals()["called"] = called
    called.__qualname__ = "called"
    data = file_of([torch.ones(2), Canary()])
    for options in ({}, {"weights_only": True}):
        with pytest.raises(pickle.UnpicklingError, match="called was not an allowed global"):
            torch.load(io.BytesIO(data), **options)
    assert Canary.calls == 0
    torch.load(io.BytesIO(data), weights_only=False)
    assert Canary.calls == 1


def test_state_reaches_no_class() -> None:
    """Whatever BUILD is tried on, tables and classes are as before."""
    before = dict(vars(torch.Tensor)), dict(vars(torch.nn.Parameter))
    for made in (G("torch", "Tensor"), G("torch.nn.parameter", "Parameter"), G("torch", "Size")):
        with pytest.raises(pickle.UnpicklingError):
            torch.load(archive_of(b"\x80\x02" + made + b"N}" + T("add") + b"K\x01s\x86b."))
    assert (dict(vars(torch.Tensor)), dict(vars(torch.nn.Parameter))) == before


def drawn(draw: random.Random) -> bytes:
    """A pickle of steps that are each allowed, in any order."""
    names = list(DEFAULT)
    steps: list[Callable[[], bytes]] = [
        lambda: G(*draw.choice(names).rsplit(".", 1)),
        lambda: T(draw.choice(("storage", "0", "cpu", "latin1", "cuda:0", "x", ""))),
        lambda: b"K" + bytes([draw.randrange(6)]),
        lambda: draw.choice((b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f")),
        lambda: b"G" + struct.pack(">d", draw.choice((0.0, 1.5, float("nan"), 1e300))),
        lambda: N(draw.choice((0, 4, 1 << 40, 1 << 70))),
        lambda: draw.choice((b"(", b"(", b"t", b"\x85", b"\x86", b"\x87")),
        lambda: draw.choice((b"R", b"R", b"\x81", b"b", b"a", b"e", b"s", b"u")),
        lambda: draw.choice((b"q", b"h")) + bytes([draw.randrange(3)]),
        lambda: tensor(b"K" + bytes([draw.randrange(4)]), b"K\x02\x85", b"K\x01\x85"),
        lambda: storage(kind=G("torch", draw.choice(("FloatStorage", "LongStorage")))),
    ]
    values = [draw.choice(steps[:6])() for _ in range(6)]  # so that few steps find no stack
    return b"".join(values + [draw.choice(steps)() for _ in range(draw.randrange(1, 30))])


def test_drawn_pickles() -> None:
    """What is called in every wrong way raises clearly, and what is not refused loads."""
    loaded: collections.Counter[str] = collections.Counter()
    for seed in range(4000):
        data = drawn(random.Random(seed))
        try:
            back = torch.load(archive_of(b"\x80\x02" + data + b".", bytes(16)))
        except CLEAR:
            continue
        loaded[type(back).__name__] += 1
    assert loaded["Tensor"] > 25 and len(loaded) > 10, loaded


def doubled(times: int, start: bytes = b")") -> bytes:
    """A tuple of two tuples, each of which is the one before: 2**times in all."""
    return start + b"".join(b"q%ch%c\x86" % (k, k) for k in range(times))


def test_bombs() -> None:
    """Keys whose hash and texts whose length grow without end; places in a memo of gigabytes."""
    bomb = doubled(120)
    for data in (
        b"}" + bomb + b"K\x01s",
        b"}(" + bomb + b"K\x01u",
        G("builtins", "set") + b"]" + bomb + b"a\x85R",
        ODICT + b"](" + bomb + b"K\x01ta\x85R",
        G("collections", "Counter") + b"}" + bomb + b"K\x01s\x85R",
    ):
        with pytest.raises(pickle.UnpicklingError, match="a key of more than 1000 parts"):
            torch.load(archive_of(b"\x80\x02" + data + b"."))
    for data in (bomb + b")R", bomb + b")\x81", bomb + b"}b"):
        with pytest.raises(pickle.UnpicklingError) as caught:
            torch.load(archive_of(b"\x80\x02" + data + b"."))
        assert len(str(caught.value)) < 2000
    for arguments in (
        tensor(bomb, b"K\x04\x85", b"K\x01\x85"),
        tensor(b"K\x00", bomb, b"K\x01\x85"),
        tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85", bomb),
    ):
        with pytest.raises(CLEAR) as caught:
            torch.load(archive_of(b"\x80\x02" + arguments + b".", bytes(16)))
        assert len(str(caught.value)) < 2000
    assert torch.load(archive_of(b"\x80\x02Nr\xff\xff\xff\x7f.")) is None
    deep = torch.load(archive_of(b"\x80\x02)" + b"\x85" * 200_000 + b"."))
    assert type(deep) is tuple


def test_a_great_tensor_of_few_bytes_takes_no_memory() -> None:
    data = tensor(b"K\x00", N(1 << 40) + b"K\x04\x86", b"K\x00K\x01\x86")
    x = torch.load(archive_of(b"\x80\x02" + data + b".", bytes(16)))
    assert x.shape == (1 << 40, 4) and x[1 << 39].tolist() == [0, 0, 0, 0]


def test_compressed_records_are_not_unpacked() -> None:
    """A gigabyte of zeros takes a megabyte in a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", bytes(1 << 24))
    with pytest.raises(RuntimeError, match="compressed or encrypted"):
        torch.load(io.BytesIO(buffer.getvalue()))


def test_what_else_is_a_zip_archive() -> None:
    for names, message in (
        (["archive/constants.pkl"], "Cannot use ``weights_only=True`` with TorchScript archives"),
        (["word/document.xml"], "locating file data.pkl: file not found in archive"),
        (["a/data.pkl", "b/data/0"], "not in a subdirectory"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as zipped:
            for name in names:
                zipped.writestr(name, "")
        with pytest.raises(RuntimeError, match=message):
            torch.load(io.BytesIO(buffer.getvalue()))
    with pytest.raises(RuntimeError, match="reading zip archive"):
        torch.load(io.BytesIO(b"PK\3\4"))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((1,), "Invalid magic number; corrupt file?"),
        ((0x1950A86A20F9469CFC6C, 7), "Invalid protocol version: 7"),
        ((0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}), "of the other byte order"),
        ((0x1950A86A20F9469CFC6C, 1001, {}), "of the other byte order"),
    ],
)
def test_old_files_that_are_none(numbers: tuple, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        torch.load(io.BytesIO(b"".join(pickle.dumps(n, 2) for n in numbers)))
