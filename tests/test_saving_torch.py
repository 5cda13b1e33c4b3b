"""Files go both ways: what lazyt saves PyTorch loads, and what PyTorch saves lazyt does.

Where both can save the same object the files are compared: the same records at the same places, the
same pickle byte for byte.
"""

from __future__ import annotations

import collections
import io
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_things import THINGS, checkpoint, dtypes, file_of, network, same, shapes, views
from test_nn import LAYERS

import lazyt
from lazyt.serialization.names import found, name_of


@pytest.fixture(autouse=True)
def _one_thread(oracle: types.ModuleType) -> None:
    oracle.manual_seed(0)


@pytest.mark.parametrize("make", THINGS, ids=lambda f: f.__name__)
def test_the_files_are_the_same(make: Callable, oracle: types.ModuleType) -> None:
    theirs, ours = (file_of(torch, make(torch)) for torch in (oracle, lazyt))
    there, here = (zipfile.ZipFile(io.BytesIO(data)) for data in (theirs, ours))
    assert here.testzip() is None
    places = [
        [(e.filename, e.header_offset, e.flag_bits) for e in z.infolist()] for z in (there, here)
    ]
    assert places[0] == places[1]
    for name in there.namelist():
        if name != "archive/.data/serialization_id":
            assert here.read(name) == there.read(name), name
    assert len(ours) == len(theirs)
    differing = sum(a != b for a, b in zip(ours, theirs))
    assert differing <= 40 + 4 + 4 + 4  # the id; its checksum in three places


@pytest.mark.parametrize("make", THINGS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_both_ways(
    make: Callable, weights_only: bool, zipped: bool, oracle: types.ModuleType
) -> None:
    made = {torch: make(torch) for torch in (oracle, lazyt)}
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        data = file_of(writer, made[writer], _use_new_zipfile_serialization=zipped)
        back = reader.load(io.BytesIO(data), weights_only=weights_only)
        same(back, reader.load(io.BytesIO(file_of(reader, made[reader]))))
        same(back, made[writer])


def test_shared_memory_both_ways(oracle: types.ModuleType) -> None:
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        back = reader.load(io.BytesIO(file_of(writer, views(writer))))
        back[1][0, 0] = -7
        assert back[0][1, 0, 0].item() == back[2][0, 1, 0].item() == -7


@pytest.mark.parametrize("mapped", [False, True])
def test_mapped_files_both_ways(mapped: bool, tmp_path: Path, oracle: types.ModuleType) -> None:
    path = tmp_path / "some thing.v2.pt"
    config = oracle.utils.serialization.config
    before = config.load.calculate_storage_offsets
    config.load.calculate_storage_offsets = mapped
    try:
        for make in (dtypes, views, shapes, checkpoint):
            for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
                thing = make(writer)
                writer.save(thing, path)
                same(reader.load(path, mmap=True), thing)
    finally:
        config.load.calculate_storage_offsets = before


def test_storages_of_other_dtypes_are_named(oracle: types.ModuleType) -> None:
    for name in ("uint16", "float8_e4m3fn"):
        x = oracle.zeros(2, dtype=getattr(oracle, name))
        with pytest.raises(RuntimeError, match=rf"tensors of torch\.{name}, a dtype that is miss"):
            lazyt.load(io.BytesIO(file_of(oracle, x)))
    conjugate = oracle.ones(2, dtype=oracle.complex64).conj().imag
    with pytest.raises(RuntimeError, match="conjugate or negative"):
        lazyt.load(io.BytesIO(file_of(oracle, conjugate)))


def test_big_files_of_the_other_byte_order(oracle: types.ModuleType) -> None:
    """PyTorch turns the bytes of the same file in the same way."""
    from lazyt.serialization.archive import ArchiveWriter

    x = np.arange(5.0, dtype=">f4")
    zipped = zipfile.ZipFile(io.BytesIO(file_of(lazyt, lazyt.zeros(5))))
    buffer = io.BytesIO()
    writer = ArchiveWriter(buffer, "archive")
    writer.write("data.pkl", zipped.read("archive/data.pkl"))
    writer.write("byteorder", b"big")
    writer.write("data/0", x.tobytes())
    writer.close()
    for torch in (oracle, lazyt):
        assert torch.load(io.BytesIO(buffer.getvalue())).tolist() == [0, 1, 2, 3, 4]


def test_without_checksums_both_ways(oracle: types.ModuleType) -> None:
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        writer.serialization.set_crc32_options(False)
        try:
            data = file_of(writer, dtypes(writer))
        finally:
            writer.serialization.set_crc32_options(True)
        same(reader.load(io.BytesIO(data)), dtypes(writer))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
def test_whole_networks_both_ways(zipped: bool, oracle: types.ModuleType) -> None:
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        net = network(writer).eval()
        data = file_of(writer, net, _use_new_zipfile_serialization=zipped)
        back = reader.load(io.BytesIO(data), weights_only=False)
        assert repr(back) == repr(net) and type(back).__module__.startswith(reader.__name__)
        out = [
            n(t.linspace(-1, 1, 16).view(1, 1, 4, 4)) for n, t in ((net, writer), (back, reader))
        ]
        assert out[1].tolist()[0] == pytest.approx(out[0].tolist()[0], rel=1e-5)
        back.train()(reader.ones(2, 1, 4, 4)).sum().backward()
        assert back[0].weight.grad is not None


# What PyTorch's modules have and do not read: of hooks that nobody registers, and of ReLU6.
UNREAD = {"_is_full_backward_hook", "min_val", "max_val"}


@pytest.mark.parametrize("text", LAYERS)
def test_every_layer_both_ways(text: str, oracle: types.ModuleType) -> None:
    """Its state dict, into the other's layer, and the layer itself."""
    made = {torch: eval(text, {"torch": torch, "nn": torch.nn}) for torch in (oracle, lazyt)}
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        state = reader.load(io.BytesIO(file_of(writer, made[writer].state_dict())))
        assert str(made[reader].load_state_dict(state)) == "<All keys matched successfully>"
        same(made[reader].state_dict(), made[writer].state_dict())
        whole = reader.load(io.BytesIO(file_of(writer, made[writer])), weights_only=False)
        assert type(whole) is type(made[reader]) and repr(whole) == repr(made[writer])
        same(whole.state_dict(), made[writer].state_dict())
        assert vars(whole).keys() - UNREAD == vars(made[reader]).keys() - UNREAD


def test_an_optimizer_goes_on_where_the_other_stopped(oracle: types.ModuleType) -> None:
    def run(torch: Any, state: Any, steps: int) -> Any:
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = torch.optim.Adam([p], lr=0.1)
        if state is not None:
            p.data, optimizer_state = state["p"], state["optimizer"]
            optimizer.load_state_dict(optimizer_state)
        for _ in range(steps):
            optimizer.zero_grad()
            (p**4).sum().backward()
            optimizer.step()
        return {"p": p.detach(), "optimizer": optimizer.state_dict()}

    whole = run(oracle, None, 6)["p"].tolist()
    for writer, reader in ((oracle, lazyt), (lazyt, oracle)):
        half = reader.load(io.BytesIO(file_of(writer, run(writer, None, 3))))
        assert run(reader, half, 3)["p"].tolist() == pytest.approx(whole, rel=1e-5)


def test_every_name_is_one_of_pytorch(oracle: types.ModuleType) -> None:
    import importlib

    spaces = (lazyt.nn, lazyt.optim, lazyt.optim.lr_scheduler)
    classes = {v for space in spaces for v in vars(space).values() if isinstance(v, type)}
    functions = [lazyt.tensor, lazyt.relu, lazyt.cat, lazyt.nn.functional.gelu, lazyt.no_grad]
    functions += [lazyt.autograd.grad, lazyt.nn.init.zeros_, lazyt.is_tensor]
    functions += [lazyt.utils.data.default_collate, lazyt.nn.functional.relu, lazyt.save]
    for thing in (*(c for c in classes if c.__module__.startswith("lazyt.")), *functions):
        name = name_of(thing)
        assert name is not None and found(*name) is thing
        module, qualified = name
        assert callable(getattr(importlib.import_module(module), qualified)), name


def test_what_both_refuse_is_refused_in_the_same_words(oracle: types.ModuleType) -> None:
    for thing in (types.SimpleNamespace(a=1), np.float32(1), print, b"", frozenset(), range(3)):
        said = []
        for torch in (oracle, lazyt):
            with pytest.raises(Exception) as caught:
                torch.load(io.BytesIO(file_of(lazyt, thing)))
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]


def test_the_globals_that_a_file_asks_for(oracle: types.ModuleType) -> None:
    data = file_of(oracle, [types.SimpleNamespace(), network(oracle), collections.deque()])
    names = [
        sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data)))
        for torch in (oracle, lazyt)
    ]
    assert names[0] == names[1] and "collections.deque" in names[1]
    with lazyt.serialization.safe_globals([collections.deque]):
        asked = lazyt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(data))
        assert "collections.deque" not in asked
    with pytest.raises(ValueError, match="Expected input to be a checkpoint returned by"):
        lazyt.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(b"nothing"))


def written_and_differentiated(torch: Any) -> list[Any]:
    """What tensors that share memory show after they were loaded, written to, differentiated."""

    def loaded(thing: Any) -> Any:
        return torch.load(io.BytesIO(file_of(torch, thing)))

    x = torch.arange(6.0)
    seen: list[Any] = []
    for first in ("leaf", "part"):
        w = torch.arange(1.0, 5.0, requires_grad=True)
        pair = {"leaf": w, "part": w.detach()[1:3]}
        pair = loaded({first: pair[first], **pair})
        w, part = pair["leaf"], pair["part"]
        y = (w * w).sum()
        part.add_(10)  # another version counter: the backward reads what is there then
        y.backward()
        seen += [y.item(), w.grad.tolist(), w.tolist(), part._base is None, w.is_leaf]
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
            w.add_(1)
        with torch.no_grad():
            w.mul_(2)
        seen.append(part.tolist())
    a, b = loaded(list(x.view(2, 3)))
    z = torch.ones(3, requires_grad=True)
    a.mul_(z)
    a.sum().backward()
    seen += [a.requires_grad, b.requires_grad, a.is_leaf, z.grad.tolist()]
    p, part = loaded([x, x[2:4]])
    p.requires_grad_()
    triple = p * 3
    part.zero_()
    seen += [triple.tolist(), p.tolist()]
    square = p * p
    part.fill_(5.0)
    square.sum().backward()
    seen.append(p.grad.tolist())
    left, right = loaded([x[:4], x[2:]])
    left.add_(right.clone())
    left[1:] = right[:3].clone()
    seen += [left.tolist(), right.tolist()]
    left.numpy()[:] = 9
    seen.append(right.tolist())
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        left.add_(right)
    t = loaded(x.view(2, 3).t())
    t.add_(1)
    t[0] = 7
    seen += [t.tolist(), t.stride(), t.reshape(-1).tolist()]
    t.unsqueeze_(0)
    t.numpy()[...] = 3
    seen += [tuple(t.shape), t.tolist()]
    return seen


def test_what_is_loaded_behaves_alike(oracle: types.ModuleType) -> None:
    assert written_and_differentiated(lazyt) == written_and_differentiated(oracle)
