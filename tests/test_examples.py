"""The examples run as a newcomer runs them: in a process of their own, compared line by line."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compare import difference

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
TOUR = Path(__file__).parent / "programs" / "tour"
STOPS = {
    "tour_1_tensors": "tensors",
    "tour_2_autograd": "autograd",
    "tour_3_net": "net",
    "tour_4_training": "training",
}


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("stop", STOPS)
def test_tour_is_the_program_with_its_imports_changed(stop: str) -> None:
    original = (TOUR / f"{STOPS[stop]}.py").read_text()
    changed = re.sub(r"^import torch$", "import lazyt as torch", original, flags=re.M)
    changed = re.sub(r"^import torch\.", "import lazyt.", changed, flags=re.M)
    assert (EXAMPLES / f"{stop}.py").read_text() == changed


@pytest.mark.parametrize("stop", ["tour_1_tensors", "tour_2_autograd", "tour_3_net"])
def test_tour_prints_what_pytorch_prints(stop: str) -> None:
    expected = (TOUR / f"{STOPS[stop]}.out").read_text()
    assert difference(expected, run(EXAMPLES / f"{stop}.py")) is None


def test_scripts_run_unchanged(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nimport torch\nimport torch.nn.functional as F\n"
        "from torch import nn, optim\nfrom torch.utils.data import DataLoader\n"
        "print(sys.argv[1:], __name__, torch.relu is F.relu or torch.ones(1).item())\n"
        "print(nn.Linear(2, 1), optim.SGD.__name__, DataLoader.__name__)\n"
    )
    printed = run("-m", "lazyt", script, "a", "--b", cwd=tmp_path)
    assert printed.startswith("['a', '--b'] __main__")
    assert "Linear(in_features=2, out_features=1, bias=True) SGD DataLoader" in printed


def test_a_module_that_renamed_lazyt_may_import_below_torch(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nsys.modules.pop('torch', None)\n"
        "import importlib.machinery\n"
        "if importlib.machinery.PathFinder.find_spec('torch') is not None:\n"
        "    print('nn is lazyt')\n    raise SystemExit\n"
        "import lazyt as torch\nimport torch.nn as nn\nimport lazyt.nn\n"
        "print('nn is lazyt' if nn is lazyt.nn else 'another nn')\n"
    )
    assert run(script, cwd=tmp_path) == "nn is lazyt\n"


# --- the digits -----------------------------------------------------------------------------------

DIGITS = EXAMPLES / "train_digits.py"


def needs_extras() -> None:
    for name in ("sklearn", "tqdm", "matplotlib"):
        pytest.importorskip(name)


def losses(printed: str) -> list[float]:
    return [float(x) for x in re.findall(r"^\s*\[\d+, +\d+\] loss: ([\d.]+)$", printed, re.M)]


def test_digits_are_learned(tmp_path: Path) -> None:
    needs_extras()
    picture = tmp_path / "digits.png"
    printed = run(DIGITS, "--picture", picture, "--dump", tmp_path / "dump")
    accuracy = re.search(r"test accuracy: ([\d.]+) %", printed)
    assert "Net(\n  (conv1): Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))" in printed
    assert accuracy is not None and float(accuracy.group(1)) >= 97
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")
    assert any((tmp_path / "dump").rglob("*.py"))


def write_idx_files(folder: Path, packed: bool = False) -> None:
    """MNIST's four files, of noise: 24 images to learn, 16 to test."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("t10k", 16)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            raw = header + array.tobytes()
            file = folder / f"{part}-{name}-ubyte"
            if packed:
                file.with_name(file.name + ".gz").write_bytes(gzip.compress(raw))
            else:
                file.write_bytes(raw)


@pytest.mark.parametrize("packed", [False, True])
def test_digits_from_idx_files(tmp_path: Path, packed: bool) -> None:
    needs_extras()
    write_idx_files(tmp_path, packed)
    options = ["--data", tmp_path, "--epochs", 1, "--picture", tmp_path / "p.png"]
    assert "Finished Training: 3 steps" in run(DIGITS, *options)


def test_digits_follow_pytorch_step_by_step(tmp_path: Path) -> None:
    """The same script on both, from one seed: the first 200 losses agree to 1e-3."""
    needs_extras()
    pytest.importorskip("torch", reason="the oracle, PyTorch, is not installed")
    text = DIGITS.read_text()
    text = text.replace("import lazyt as torch", "import torch").replace(
        "import lazyt.", "import torch."
    )
    text = text.replace("from lazyt.", "from torch.")
    twin = tmp_path / "twin.py"
    twin.write_text(text)
    options = ["--epochs", 2, "--print-every", 1, "--picture", tmp_path / "p.png"]
    ours, theirs = losses(run(DIGITS, *options))[:200], losses(run(twin, *options))[:200]
    assert len(ours) == len(theirs) == 200
    for a, b in zip(ours, theirs):
        assert abs(a - b) <= 1e-3 * b + 1e-3  # printed to three decimals
