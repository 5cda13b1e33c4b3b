"""safetensors.torch on lazyt: files, shared memory, errors, and what `python -m lazyt` imports."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import lazyt as torch
from lazyt.ir.dtypes import REAL
from lazyt.serialization import safetensors as ours

pytest.importorskip("safetensors", reason="needs safetensors: pip install lazyt[safetensors]")


def tensors(torch: Any) -> Any:
    made = {d.name: torch.tensor([[0, 1, 2]], dtype=getattr(torch, d.name)) for d in REAL}
    half = torch.tensor([1.5, float("inf"), -0.0]).bfloat16()
    return made | {"half": half, "empty": torch.zeros(0, 3), "one": torch.tensor(7)}


def same(found: dict, expected: dict) -> None:
    assert sorted(found) == sorted(expected)
    for name, t in expected.items():
        assert str(found[name].dtype) == str(t.dtype), name
        assert tuple(found[name].shape) == tuple(t.shape), name
        assert repr(found[name].tolist()) == repr(t.tolist()), name


def test_bytes_and_files(tmp_path: Path) -> None:
    things = tensors(torch)
    path = tmp_path / "x.safetensors"
    ours.save_file(things, path, metadata={"format": "pt"})
    same(ours.load_file(path), things)
    same(ours.load(ours.save(things)), things)
    same(torch.load(path), things)
    same(torch.load(str(path), map_location=torch.device("cpu")), things)
    back = ours.load_file(path)
    back["float32"].add_(1)
    assert back["float32"].tolist() == [[1, 2, 3]]
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}
        assert file.get_tensor("int64").tolist() == [[0, 1, 2]]


def test_both_ways(oracle: types.ModuleType, tmp_path: Path) -> None:
    import safetensors.torch as theirs

    path = tmp_path / "x.safetensors"
    ours.save_file(tensors(torch), path)
    same(theirs.load_file(path), tensors(oracle))
    theirs.save_file(tensors(oracle), path)
    same(ours.load_file(path), tensors(torch))
    with pytest.raises(RuntimeError, match="tensors of U16, a dtype that is missing here"):
        ours.load(theirs.save({"x": oracle.zeros(1, dtype=oracle.uint16)}))


def test_errors(tmp_path: Path) -> None:
    x = torch.arange(6.0).view(2, 3)
    with pytest.raises(ValueError, match="Expected a dict of .* but received <class 'list'>"):
        ours.save([x])
    with pytest.raises(ValueError, match="Key `a` is invalid, expected torch.Tensor but received"):
        ours.save({"a": 1})
    with pytest.raises(ValueError, match="save a non contiguous tensor: `t`"):
        ours.save({"t": x.t()})
    with pytest.raises(RuntimeError, match="Some tensors share memory"):
        ours.save({"x": x, "row": x[1]})
    rows = {"first": x[0], "second": x[1]}  # beside each other: nothing is shared
    same(ours.load(ours.save(rows)), rows)
    with pytest.raises(Exception, match="header too small"):
        ours.load(b"")
    with pytest.raises(FileNotFoundError):
        ours.load_file(tmp_path / "missing.safetensors")
    path = tmp_path / "x.safetensors"
    ours.save_file({"x": x}, path)
    for where, kind in (({"cpu": "cpu"}, "dict"), (lambda storage, location: storage, "callable")):
        with pytest.raises(RuntimeError, match=f"with {kind} map_location is not supported"):
            torch.load(path, map_location=where)
    before = path.read_bytes()
    with mock.patch.object(os, "replace", side_effect=OSError), pytest.raises(OSError):
        ours.save_file({"x": x * 2}, path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["x.safetensors"]


def test_without_the_library(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"")
    with mock.patch.dict(sys.modules, {"safetensors": None}):
        with pytest.raises(ImportError, match=r"pip install lazyt\[safetensors\]"):
            ours.save({})
        with pytest.raises(RuntimeError, match="Please install safetensors with: pip install"):
            torch.load(path)


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(4, 3)
        self.head = torch.nn.Linear(3, 4, bias=False)
        self.head.weight = self.embedding.weight


def test_modules_with_shared_parameters(tmp_path: Path) -> None:
    path = tmp_path / "tied.safetensors"
    net, other = Tied(), Tied()
    ours.save_model(net, path)
    assert list(ours.load_file(path)) == ["embedding.weight"]
    assert ours.load_model(other, path) == (set(), [])
    assert other.head.weight.tolist() == net.embedding.weight.tolist()
    plain = torch.nn.Sequential(torch.nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match='Missing key.*"0.bias", "0.weight"\n.*Unexpected'):
        ours.load_model(plain, path)
    missing, unexpected = ours.load_model(plain, path, strict=False)
    assert (missing, unexpected) == ({"0.bias", "0.weight"}, ["embedding.weight"])

    class Parts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            x = torch.zeros(6)
            self.register_buffer("a", x[:4])
            self.register_buffer("b", x[2:])

    with pytest.raises(RuntimeError, match="None is covering the entire storage"):
        ours.save_model(Parts(), path)


BITS = """
data = bytearray(b"\\x80\\x3f\\xc0\\x3f\\x00\\x40\\x01\\x7f")
x = torch.frombuffer(data, dtype=torch.bfloat16)
part = torch.frombuffer(data, dtype=torch.bfloat16, count=2, offset=2)
seen = [x, part, x.view(torch.int16), x.view(torch.uint8), x.view(torch.float32)]
seen += [torch.ones(2).view(torch.bfloat16), torch.ones(2).half().view(torch.bfloat16)]
seen += [torch.frombuffer(data, dtype=torch.uint8).view(torch.bfloat16).view(2, 2)]
result = [(str(t.dtype), tuple(t.shape), t.tolist()) for t in seen]
"""


def test_bits_of_bfloat16(oracle: types.ModuleType) -> None:
    """What `safe_open` of the library reads with."""
    results = []
    for library in (torch, oracle):
        names: dict[str, Any] = {"torch": library}
        exec(BITS, names)
        results.append(names["result"])
    assert results[0] == results[1]


PROGRAM = """
import torch
from safetensors.torch import load_file, save_file
import safetensors.torch
save_file({"x": torch.ones(2)}, "x.safetensors")
print(torch.__name__, safetensors.torch.__name__, load_file("x.safetensors"))
save_file({"half": torch.arange(6.0).bfloat16().view(2, 3), "x": torch.ones(2)}, "y.safetensors")
with safetensors.safe_open("y.safetensors", framework="pt") as file:
    print([(name, file.get_tensor(name).tolist()) for name in file.keys()])
    print(file.get_slice("half")[:, 1:])
"""


def test_programs_import_it_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "lazyt", "program.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "lazyt lazyt.serialization.safetensors {'x': tensor([1., 1.])}",
        "[('half', [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), ('x', [1.0, 1.0])]",
        "tensor([[1., 2.],",
        "        [4., 5.]], dtype=torch.bfloat16)",
    ]


def test_other_modules_keep_theirs(oracle: types.ModuleType) -> None:
    """Where PyTorch is installed, `safetensors.torch` is its own outside of `python -m lazyt`."""
    from lazyt.torch_names import torch_is_lazyt

    with torch_is_lazyt():
        import safetensors.torch as inside
    import safetensors.torch as outside

    assert inside is ours and outside.torch is oracle
