"""torch.save and torch.load: what comes back, from where, and what a file is at any moment."""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import enum
import gzip
import io
import os
import pickle
import stat
import struct
import subprocess
import sys
import textwrap
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import lazyt as torch
from lazyt.ir.dtypes import ALL, bfloat16
from lazyt.runtime.cuda.host import build
from lazyt.serialization import archive, options, safe_globals
from lazyt.serialization.archive import ArchiveReader, ArchiveWriter
from lazyt.serialization.names import found, name_of


def saved(thing: Any, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


def trip(thing: Any, **options: Any) -> Any:
    """What comes back of a thing."""
    return torch.load(io.BytesIO(saved(thing)), **options)


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3), (2, 1, 3, 1)], ids=str)
def test_every_dtype_and_shape(dtype: Any, shape: tuple[int, ...]) -> None:
    x = (torch.arange(2 * int(np.prod(shape)), dtype=torch.float32) - 2)[::2].view(shape)
    x = x.to(dtype)
    y = trip(x)
    assert (y.dtype, y.shape, y.stride(), y.device) == (dtype, shape, x.stride(), x.device)
    assert y.tolist() == x.tolist()


def test_every_bit_of_a_float() -> None:
    bits = np.array([0x7F800000, 0xFF800000, 0x7FC00001, 0x80000000, 1, 0x7F7FFFFF], np.uint32)
    x = torch.from_numpy(bits.view(np.float32))
    assert trip(x).numpy().view(np.uint32).tolist() == bits.tolist()
    halves = trip(x.to(bfloat16)).float().numpy().view(np.uint32)
    assert halves.tolist() == x.to(bfloat16).float().numpy().view(np.uint32).tolist()


def test_a_tensor_alone_on_its_storage_is_a_plain_one() -> None:
    y = trip(torch.ones(2, 3))
    assert y._meta is None and y._storage.node.type.shape == (2, 3)
    assert y._storage.node.value.base is None  # a plan may write over it


def test_what_is_pending_is_computed() -> None:
    assert trip((torch.arange(3.0) + 1).exp().log()).tolist() == pytest.approx([1, 2, 3])


def test_views_share_their_storage_again() -> None:
    x = torch.arange(12.0).view(3, 4)
    views = {"all": x, "row": x[1], "column": x[:, 2], "t": x.t(), "every": x[::2, 1::2]}
    back = trip(views)
    for name, view in views.items():
        assert back[name].tolist() == view.tolist()
        assert back[name].stride() == view.stride()
        assert back[name].storage_offset() == view.storage_offset()
    back["row"].fill_(-1)
    back["column"].mul_(10)
    views["row"].fill_(-1)
    views["column"].mul_(10)
    assert {n: v.tolist() for n, v in back.items()} == {n: v.tolist() for n, v in views.items()}
    assert len({v.untyped_storage().data_ptr() for v in back.values()}) == 1


def test_a_view_brings_its_whole_storage() -> None:
    part = trip(torch.arange(1000.0)[10:12])
    assert part.tolist() == [10, 11] and part.untyped_storage().nbytes() == 4000


def test_tensors_of_one_storage_have_histories_and_versions_of_their_own() -> None:
    a, b = trip(list(torch.arange(4.0).unbind(0)))[:2]
    a.add_(5)
    assert (a._version, b._version) == (1, 0)
    p, q = trip([torch.nn.Parameter(torch.ones(2))] * 2)
    assert p is q
    w = torch.ones(2, requires_grad=True)
    first, second = trip([w, w.detach()])
    with torch.no_grad():
        second.mul_(3)
    (first * first).sum().backward()
    assert first.grad.tolist() == [6, 6] and not second.requires_grad


def test_an_expanded_tensor_keeps_its_strides() -> None:
    x = torch.ones(1).expand(1 << 40)
    y = trip(x)
    assert y.shape == (1 << 40,) and y.stride() == (0,) and len(saved(x)) < 2000


def test_leaves() -> None:
    w = torch.ones(2, requires_grad=True)
    v = trip({"w": w, "product": w * 2, "detached": w.detach()})
    assert [(t.requires_grad, t.is_leaf) for t in v.values()] == [(1, 1), (1, 1), (0, 1)]
    (v["w"] * v["product"]).sum().backward()
    assert v["w"].grad.tolist() == [2, 2] and v["product"].grad.tolist() == [1, 1]


def test_parameters_and_attributes_of_tensors() -> None:
    p = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    p.note = [1]
    x = torch.zeros(1)
    x.name = "x"
    buffer = torch.nn.Buffer(torch.ones(1), persistent=False)
    back = trip([p, x, buffer, torch.nn.Parameter(torch.ones(1))])
    assert [type(t).__name__ for t in back] == ["Parameter", "Tensor", "Tensor", "Parameter"]
    assert (back[0].note, back[0].requires_grad, back[3].requires_grad) == ([1], False, True)
    assert back[1].name == "x" and back[2].persistent is False


def test_a_class_of_tensors_comes_back_when_it_is_allowed() -> None:
    class Marked(torch.Tensor):
        pass

    Marked.__qualname__, Marked.__module__ = "Marked", __name__
    globals()["Marked"] = Marked
    x = torch.ones(2, requires_grad=True).detach().as_subclass(Marked)
    x.tag = 3
    with pytest.raises(pickle.UnpicklingError, match="Marked was not an allowed global"):
        trip(x)
    with safe_globals([Marked]):
        y = trip(x)
    assert type(y) is Marked and y.tag == 3 and y.tolist() == [1, 1]


def test_a_hook_is_not_saved_and_that_is_said() -> None:
    w = torch.ones(2, requires_grad=True)

    def silent(g: Any) -> None:
        pass

    w.register_hook(torch.utils.hooks.unserializable_hook(silent))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saved(w)
        pickle.dumps(w)
    handle = w.register_hook(len)
    message = r"backward hook <built-in function len> on tensor will not be serialized"
    with pytest.warns(UserWarning, match=message):
        saved(w)
    with pytest.warns(UserWarning, match=message):
        p = torch.nn.Parameter(torch.ones(2))
        p.register_hook(len)
        saved(p)
    with pytest.warns(UserWarning, match=message):
        pickle.dumps(w)
    handle.remove()


# --- other things ---------------------------------------------------------------------------------


def test_plain_values_and_containers() -> None:
    thing = {
        "numbers": [0, -1, 255, 65536, 2**40, -(10**70), 1.5, float("inf"), True, None, 1 + 2j],
        "texts": ["", "é", "\ud800", "x" * 300],
        "bytes": [b"\0\xff", bytearray(b"ab")],
        "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
        "sets": [set(), {1, "a", (2, 3)}],
        "ordered": collections.OrderedDict(b=1, a=2),
        "counted": collections.Counter("aab"),
        (1, "key"): torch.Size([2, 3]),
        "dtypes": list(ALL),
        "devices": [torch.device("cpu"), torch.device("cuda", 1), torch.device("cuda")],
    }
    back = trip(thing)
    assert back == thing
    assert type(back["ordered"]) is collections.OrderedDict
    assert type(back[1, "key"]) is torch.Size and back["dtypes"][0] is ALL[0]
    assert repr(float("nan")) == repr(trip(float("nan")))


def test_one_object_twice_is_one_object() -> None:
    x = torch.ones(1)
    back = trip([x, x, {"again": x}])
    assert back[0] is back[1] is back[2]["again"]


def test_metadata_of_a_state_dict() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    assert trip(state)._metadata == state._metadata


def test_numpy_values_come_back_when_they_are_allowed() -> None:
    thing = {"scalar": np.float32(1.5), "array": np.arange(3)}
    with pytest.raises(pickle.UnpicklingError, match=r"numpy\._core\.multiarray\.\w+ was not"):
        trip(thing)
    core = np._core.multiarray
    wanted = [core.scalar, core._reconstruct, np.ndarray, np.dtype]
    with safe_globals([*wanted, np.dtypes.Float32DType, np.dtypes.Int64DType]):
        back = trip(thing)
    assert back["scalar"] == np.float32(1.5) and back["array"].tolist() == [0, 1, 2]
    assert torch.serialization.get_safe_globals() == []


@dataclasses.dataclass
class Config:
    width: int
    kind: Kind


class Kind(enum.Enum):
    WIDE = "wide"


class Slotted:
    __slots__ = ("a",)


def test_classes_of_a_program_come_back_when_they_are_allowed() -> None:
    slotted = Slotted()
    slotted.a = torch.ones(1)
    thing = [Config(3, Kind.WIDE), argparse.Namespace(lr=0.5), slotted]
    with pytest.raises(pickle.UnpicklingError, match="Config was not an allowed global"):
        trip(thing)
    with safe_globals([Config, Kind, (Slotted, f"{__name__}.Slotted"), argparse.Namespace]):
        config, namespace, other = trip(thing)
    assert config == Config(3, Kind.WIDE) and namespace.lr == 0.5 and other.a.tolist() == [1]
    for pair, error in (((Config,), ValueError), ((Config, 3), TypeError)):
        with safe_globals([pair]), pytest.raises(error, match="Expected"):
            trip(thing)
    torch.serialization.add_safe_globals([os.system, Config])
    assert set(torch.serialization.get_safe_globals()) == {os.system, Config}
    try:
        with pytest.raises(pickle.UnpicklingError, match=f"module {os.name} is blocked"):
            trip(os.system)
    finally:
        torch.serialization.clear_safe_globals()
    assert torch.serialization.get_safe_globals() == []


def test_memory_that_others_write_to_is_saved_as_it_is() -> None:
    outside = np.zeros(3, np.float32)
    x = torch.from_numpy(outside)
    y = torch.zeros(3)
    inside = y.numpy()
    outside[0] = inside[1] = 7
    assert [t.tolist() for t in trip([x, y])] == [[7, 0, 0], [0, 7, 0]]
    columns = torch.from_numpy(np.arange(6.0).reshape(2, 3).T)
    assert trip(columns).tolist() == columns.tolist() and trip(columns).stride() == (1, 3)


def test_storages() -> None:
    x = torch.arange(3.0)
    storage, untyped = trip([x.storage(), torch.ones(2).untyped_storage()])
    assert storage.tolist() == [0, 1, 2] and storage.dtype is torch.float32
    assert untyped.nbytes() == 8
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        saved([x, x.untyped_storage()])


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(2, 3)
        self.second = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.25))
        self.register_buffer("scale", torch.full((3,), 2.0))

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) * self.scale


def test_whole_modules_and_optimizers() -> None:
    net = Net().eval()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.5)
    with pytest.raises(pickle.UnpicklingError, match=r"test_saving\.Net was not an allowed"):
        trip(net)
    nn = torch.nn
    layers = [nn.Linear, nn.Sequential, nn.ReLU, nn.Dropout, Net]
    with safe_globals(layers):
        assert trip(net).first.weight.tolist() == net.first.weight.tolist()
    twin, again = trip([net, optimizer], weights_only=False)
    assert type(twin) is Net and not twin.training and twin.second[1].p == 0.25
    assert twin(torch.ones(1, 2)).tolist() == net(torch.ones(1, 2)).tolist()
    assert again.param_groups[0]["lr"] == 0.5
    assert again.param_groups[0]["params"][0] is twin.first.weight


def test_functions_and_methods() -> None:
    back = trip([torch.relu, torch.nn.functional.relu, torch.Tensor, len], weights_only=False)
    assert back == [torch.relu, torch.nn.functional.relu, torch.Tensor, len]


def public_classes() -> list[type]:
    spaces = (torch.nn, torch.optim, torch.optim.lr_scheduler)
    found = [v for space in spaces for v in vars(space).values() if isinstance(v, type)]
    return [c for c in dict.fromkeys(found) if c.__module__.startswith("lazyt.")]


@pytest.mark.parametrize("cls", public_classes(), ids=lambda c: c.__name__)
def test_classes_go_by_names_of_pytorch(cls: type) -> None:
    name = name_of(cls)
    assert name is not None and name[0].split(".")[0] == "torch" and found(*name) is cls


# --- where they go --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["cpu", b"cpu", torch.device("cpu"), {"cuda:0": "cpu"}, lambda storage, location: storage],
    ids=["str", "bytes", "device", "dict", "callable"],
)
def test_map_location(where: Any) -> None:
    assert torch.load(io.BytesIO(elsewhere(b"cuda:0")), where).tolist() == [1, 1]


def elsewhere(location: bytes) -> bytes:
    """A file of two ones from another place."""
    data = saved(torch.ones(2))
    short = struct.pack("<I", 3) + b"cpu"
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        changed = zipped.read("archive/data.pkl").replace(
            short, struct.pack("<I", len(location)) + location
        )
        buffer = io.BytesIO()
        writer = ArchiveWriter(buffer, "archive")
        writer.write("data.pkl", changed)
        writer.write("data/0", zipped.read("archive/data/0"))
        writer.close()
    return buffer.getvalue()


def test_a_place_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match=r"on a CUDA device but torch.cuda.is_available\(\) is"):
        torch.load(io.BytesIO(elsewhere(b"cuda:0")))
    with pytest.raises(RuntimeError, match="don't know how to restore data location of .*moon"):
        torch.load(io.BytesIO(elsewhere(b"moon")))


def test_map_location_is_asked_once_for_each_storage() -> None:
    asked: list[tuple[str, int, Any]] = []

    def where(storage: Any, location: str) -> Any:
        asked.append((location, storage.nbytes(), storage.device))

    x = torch.ones(3)
    trip([x, x[1:], torch.ones(2)], map_location=where)
    assert asked == [("cpu", 12, torch.device("cpu")), ("cpu", 8, torch.device("cpu"))]


def test_an_error_of_map_location_is_the_programs_own() -> None:
    def where(storage: Any, location: str) -> Any:
        raise ValueError("here")

    with pytest.raises(ValueError, match="^here$"):
        trip(torch.ones(1), map_location=where)


def test_a_registered_place() -> None:
    with mock.patch.object(torch.serialization.locations, "_PACKAGES", []):
        torch.serialization.register_package(30, lambda s: "earth", lambda s, where: s.cpu())
        torch.serialization.register_package(5, lambda s: "moon", lambda s, where: None)
        assert torch.serialization.location_tag(torch.ones(1).storage()) == "moon"
        assert trip(torch.ones(2)).tolist() == [1, 1]


ON_A_DEVICE = """
import io, sys
import lazyt as torch

def trip(thing, **options):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    buffer.seek(0)
    return torch.load(buffer, **options)

x = torch.arange(6.0, device="cuda").view(2, 3)
things = {"x": x, "t": x.t(), "half": (x * 1.5).bfloat16(), "row": x[1], "empty": x[:0]}
things["p"] = torch.nn.Parameter(x.clone())
same = trip(things)
for name, thing in things.items():
    back = same[name]
    assert back.device == torch.device("cuda:0"), (name, back.device)
    assert back.tolist() == thing.tolist() and back.stride() == thing.stride(), name
same["row"].zero_()
assert same["x"].tolist() == [[0, 1, 2], [0, 0, 0]]
assert same["p"].requires_grad and (same["p"] * 2).sum().device == same["p"].device
for where in ("cpu", {"cuda:0": "cpu"}, lambda s, l: s.cpu(), lambda s, l: s.cuda(1).cpu()):
    back = trip(things, map_location=where)
    assert {t.device.type for t in back.values()} == {"cpu"}
    assert back["half"].tolist() == things["half"].tolist()
there = trip([torch.ones(2), x], map_location="cuda:1")
assert [str(t.device) for t in there] == ["cuda:1", "cuda:1"] and there[0].tolist() == [1, 1]
there = trip(x, map_location={"cuda:0": "cuda:1"})
assert str(there.device) == "cuda:1"
try:
    trip(x, map_location="cuda:7")
except RuntimeError as error:
    assert "on CUDA device 7 but torch.cuda.device_count() is 2" in str(error), error
else:
    raise AssertionError
old = io.BytesIO()
torch.save(things, old, _use_new_zipfile_serialization=False)
old.seek(0)
assert torch.load(old)["half"].tolist() == things["half"].tolist()
net = torch.nn.Linear(3, 2).cuda()
twin = trip(net, weights_only=False)
assert twin(x).tolist() == net(x).tolist() and twin.weight.is_cuda
"""


@pytest.mark.skipif(build.cpp_compiler() is None, reason="needs a C++ compiler")
def test_tensors_of_devices() -> None:
    environment = {**os.environ, "LAZYT_CUDA_HOST": "ctypes", "LAZYT_CUDA_HOST_DEVICES": "2"}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_DEVICE], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


# --- files ----------------------------------------------------------------------------------------


def test_paths_and_file_objects(tmp_path: Path) -> None:
    x = torch.arange(3)
    torch.save(x, tmp_path / "path.pt")
    torch.save(x, str(tmp_path / "text.pt"))
    for mode, buffering in (("wb", -1), ("wb", 0), ("w+b", -1)):
        with open(tmp_path / f"{mode}{buffering}", mode, buffering) as file:
            torch.save(x, file)
    for path in tmp_path.iterdir():
        assert torch.load(path).tolist() == torch.load(str(path)).tolist() == [0, 1, 2]
        with open(path, "rb") as file:
            assert torch.load(file).tolist() == [0, 1, 2]
    with gzip.open(tmp_path / "small.gz", "wb") as file:
        torch.save(x, file)
    with gzip.open(tmp_path / "small.gz", "rb") as file:
        assert torch.load(file).tolist() == [0, 1, 2]


def test_storages_are_read_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "storage.pt"
    for zipped in (True, False):
        torch.save(torch.arange(3.0).storage(), path, _use_new_zipfile_serialization=zipped)
        storage = torch.load(path)
        path.unlink()
        assert storage.tolist() == [0, 1, 2]


def test_the_folder_in_the_archive_is_called_after_the_file(tmp_path: Path) -> None:
    for name, folder in {"a.pt": "a", "a b.tar.gz": "a b.tar", "ü.pt": "ü", "none": "none"}.items():
        torch.save(1, tmp_path / name)
        assert {n.split("/")[0] for n in zipfile.ZipFile(tmp_path / name).namelist()} == {folder}
        assert torch.load(tmp_path / name) == 1
    with pytest.raises(RuntimeError, match="invalid file name: .*hidden"):
        torch.save(1, tmp_path / ".hidden")


def test_a_file_object_that_only_reads_and_seeks() -> None:
    class Bare:
        def __init__(self, data: bytes):
            inner = io.BytesIO(data)
            self.read, self.readline, self.seek, self.tell = (
                inner.read,
                inner.readline,
                inner.seek,
                inner.tell,
            )
            self.seekable = lambda: True

    assert torch.load(Bare(saved(torch.ones(2)))).tolist() == [1, 1]


def test_an_archive_behind_something_else() -> None:
    buffer = io.BytesIO(b"before" + saved(torch.ones(2)))
    buffer.seek(6)
    assert torch.load(buffer).tolist() == [1, 1]


def test_errors_about_files(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="to be string, path, or a file-like object"):
        torch.save(1, 3)
    with pytest.raises(RuntimeError, match="Parent directory .*missing does not exist"):
        torch.save(1, tmp_path / "missing" / "a.pt")
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "missing.pt")
    with pytest.raises(AttributeError, match="You can only torch.load from a file that is seek"):
        torch.load(3)
    unseekable = mock.Mock(**{"tell.side_effect": io.UnsupportedOperation("tell")})
    with pytest.raises(io.UnsupportedOperation, match="Please pre-load the data into a buffer"):
        torch.load(unseekable)
    with pytest.raises(EOFError, match="Ran out of input"):
        torch.load(io.BytesIO(b""))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(torch.ones(2), path)
    before = contents(tmp_path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        torch.save([torch.ones(3), lambda: 1], path)
    with (
        mock.patch.object(ArchiveWriter, "close", side_effect=OSError("no space left")),
        pytest.raises(OSError, match="no space left"),
    ):
        torch.save(torch.ones(1000), path)
    with (
        mock.patch.object(os, "replace", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        torch.save(torch.ones(1000), path)
    assert contents(tmp_path) == before


def test_a_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(torch.ones(2), path)
    before = path.read_bytes()
    program = f"""
        import os, lazyt as torch
        from lazyt.serialization import archive
        archive.ArchiveWriter.close = lambda self: (self._file.flush(), os.kill(os.getpid(), 9))
        torch.save(torch.zeros(100_000), {str(path)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert done.returncode == -9
    assert path.read_bytes() == before
    left = [p for p in tmp_path.iterdir() if p != path]
    assert [p.name.startswith(".net.pt.") and p.stat().st_size > 400_000 for p in left] == [True]
    torch.save(torch.zeros(3), path)
    assert torch.load(path).tolist() == [0, 0, 0]


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "real.pt", tmp_path / "link.pt"
    before = os.umask(0o027)
    try:
        torch.save(1, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        link.symlink_to(path)
        torch.save(2, link)
    finally:
        os.umask(before)
    assert link.is_symlink() and torch.load(path) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.pt", "real.pt"]


def test_what_is_no_regular_file_is_written_directly(tmp_path: Path) -> None:
    torch.save(torch.ones(1000), os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_file_in_a_folder_where_nothing_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(1, path)
    with mock.patch("lazyt.serialization.files._beside", side_effect=PermissionError("no")):
        torch.save(2, path)
        with pytest.raises(PermissionError):
            torch.save(2, tmp_path / "new.pt")
    assert torch.load(path) == 2


def test_mmap(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    x = torch.arange(5000.0)
    things = {"x": x, "part": x[7:9], "half": x.bfloat16(), "flags": x > 3, "empty": x[:0]}
    torch.save(things, path)
    before = path.read_bytes()
    mapped = torch.load(path, mmap=True)
    torch.save(torch.zeros(1), path)  # another file: the mapped one stays what it was
    assert {n: t.tolist() for n, t in mapped.items()} == {n: t.tolist() for n, t in things.items()}
    mapped["part"].fill_(-1)
    assert mapped["x"][6:10].tolist() == [6, -1, -1, 9]
    path.write_bytes(before)
    torch.load(path, mmap=True)["x"].zero_()
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="must be a file path in order to use the mmap"):
        torch.load(io.BytesIO(before), mmap=True)
    torch.save(1, path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="mmap can only be used with files saved with"):
        torch.load(path, mmap=True)


def test_storages_begin_at_multiples_of_64(tmp_path: Path) -> None:
    path = tmp_path / "some name.pt"
    torch.save([torch.ones(n, dtype=torch.uint8) for n in (1, 0, 63, 200)], path)
    with open(path, "rb") as file:
        reader = ArchiveReader(file)
        assert [reader.record(f"data/{k}").start % 64 for k in range(4)] == [0, 0, 0, 0]
        assert [reader.record(f"data/{k}").nbytes for k in range(4)] == [1, 0, 63, 200]
        assert reader.names()[:4] == ["data.pkl", ".format_version", ".storage_alignment"] + [
            "byteorder"
        ]
        assert reader.names()[-2:] == ["version", ".data/serialization_id"]
    assert zipfile.ZipFile(path).testzip() is None


def test_equal_things_are_saved_to_equal_bytes() -> None:
    assert saved({"a": torch.ones(2)}) == saved({"a": torch.ones(2)})
    assert saved(torch.ones(2))[-200:] != saved(torch.zeros(2))[-200:]


def test_numbers_of_64_bits(tmp_path: Path) -> None:
    with mock.patch.object(archive, "LIMIT", 100):
        data = saved([torch.arange(50), torch.tensor(1), torch.arange(3.0)])
    zipped = zipfile.ZipFile(io.BytesIO(data))
    assert zipped.testzip() is None
    assert np.frombuffer(zipped.read("archive/data/0"), np.int64).tolist() == list(range(50))
    assert torch.load(io.BytesIO(data))[2].tolist() == [0, 1, 2]


def test_a_file_of_the_other_byte_order() -> None:
    buffer = io.BytesIO()
    zipped = zipfile.ZipFile(io.BytesIO(saved([torch.arange(3.0), torch.ones(2).bfloat16()])))
    writer = ArchiveWriter(buffer, "archive")
    writer.write("data.pkl", zipped.read("archive/data.pkl"))
    writer.write("data/0", np.arange(3.0, dtype=">f4").tobytes())
    writer.write("data/1", np.array([0x3F80] * 2, ">u2").tobytes())
    middle = buffer.tell()
    writer.write("byteorder", b"big")
    writer.close()
    buffer.seek(0)
    assert [t.tolist() for t in torch.load(buffer)] == [[0, 1, 2], [1, 1]]
    buffer.seek(middle)
    buffer.truncate()
    writer._place, writer._records = middle, writer._records[:3]
    writer.close()
    buffer.seek(0)
    try:
        options.set_default_load_endianness(torch.serialization.LoadEndianness.BIG)
        assert [t.tolist() for t in torch.load(buffer)] == [[0, 1, 2], [1, 1]]
    finally:
        options.set_default_load_endianness(None)
    with pytest.raises(TypeError, match="Invalid argument type"):
        options.set_default_load_endianness("big")


def test_files_without_checksums() -> None:
    try:
        torch.serialization.set_crc32_options(False)
        data = saved(torch.ones(2))
    finally:
        torch.serialization.set_crc32_options(True)
    assert {entry.CRC for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {0}
    assert torch.load(io.BytesIO(data)).tolist() == [1, 1]


# --- the old format, other picklers, what False means ---------------------------------------------


def test_the_old_format() -> None:
    x = torch.arange(6.0).view(2, 3)
    things = {"x": x, "t": x.t(), "half": x.bfloat16(), "b": x > 2, "e": x[:0], "p": Net().scale}
    data = saved(things, _use_new_zipfile_serialization=False)
    assert data[:2] == b"\x80\x02"
    for weights_only in (True, False):
        back = torch.load(io.BytesIO(data), weights_only=weights_only)
        for name, thing in things.items():
            assert back[name].tolist() == thing.tolist() and back[name].stride() == thing.stride()
        back["t"][0, 1] = 9
        assert back["x"][1, 0] == 9
    net = Net().eval()
    old = saved(net, _use_new_zipfile_serialization=False)
    twin = torch.load(io.BytesIO(old), weights_only=False)
    assert twin(torch.ones(1, 2)).tolist() == net(torch.ones(1, 2)).tolist()


def test_another_pickle_module() -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    x = torch.arange(4.0)
    function = lambda: 17
    buffer = io.BytesIO()
    thing = {"x": x, "part": x[1:3], "f": function, "s": torch.ones(2).untyped_storage()}
    torch.save(thing, buffer, pickle_module=cloudpickle)
    buffer.seek(0)
    back = torch.load(buffer, pickle_module=pickle)
    assert back["s"].nbytes() == 8 and back["s"].dtype is torch.uint8
    back["x"].zero_()
    assert back["part"].tolist() == [0, 0] and back["f"]() == 17


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(protocol: int) -> None:
    x = torch.arange(4.0)
    data = saved([x, x[1:], torch.float16, {"a": 1}], pickle_protocol=protocol)
    back = torch.load(io.BytesIO(data), weights_only=False)
    back[0].zero_()
    assert back[1].tolist() == [0, 0, 0] and back[2] is torch.float16
    if protocol > 2:
        with (
            pytest.warns(UserWarning, match=f"Detected pickle protocol {protocol}"),
            contextlib.suppress(pickle.UnpicklingError),
        ):
            torch.load(io.BytesIO(data))


def test_weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(types.SimpleNamespace(x=1))
    with pytest.raises(RuntimeError, match="when explicit pickle_module is specified"):
        torch.load(io.BytesIO(data), pickle_module=pickle, weights_only=True)
    assert torch.load(io.BytesIO(data), pickle_module=pickle).x == 1
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(io.BytesIO(data))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.warns(UserWarning, match="forcing weights_only=False"):
        assert torch.load(io.BytesIO(data)).x == 1
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data), weights_only=True)
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "yes")
    with pytest.raises(RuntimeError, match="but both were set"):
        torch.load(io.BytesIO(data))
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data), weights_only=False)


def test_a_name_that_is_missing_says_so() -> None:
    data = saved(torch.nn.Linear(1, 1)).replace(b"linear\nLinear", b"linear\nLineal")
    with pytest.raises(RuntimeError, match="its checksum is another"):
        torch.load(io.BytesIO(data), weights_only=False)
    old = saved(torch.nn.Linear(1, 1), _use_new_zipfile_serialization=False)
    old = old.replace(b"linear\nLinear", b"linear\nLineal")
    with pytest.raises(AttributeError, match=r"asks for torch.nn.modules.linear.Lineal, which is"):
        torch.load(io.BytesIO(old), weights_only=False)
