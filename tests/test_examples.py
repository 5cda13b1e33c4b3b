"""The examples run as a newcomer runs them: in a process of their own, compared line by line."""

from __future__ import annotations

import functools
import gzip
import os
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


# Threads that wait for each other make small products slow where other tests run beside them.
ONE_THREAD = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, **ONE_THREAD},
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


def test_a_script_knows_where_it_lies(tmp_path: Path) -> None:
    """`__file__` and the lines of tracebacks are absolute, as `python script.py` has them."""
    (tmp_path / "words.txt").write_text("found")
    (tmp_path / "script.py").write_text(
        "import os, sys\nimport torch\nos.chdir('/')\n"
        "print(open(os.path.join(os.path.dirname(__file__), 'words.txt')).read(), sys.argv[1:])\n"
        "print(sys._getframe().f_code.co_filename == __file__)\n"
    )
    assert run("-m", "lazyt", "script.py", cwd=tmp_path) == "found []\nTrue\n"


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


def in_pytorch(example: Path, folder: Path) -> Path:
    """The same program with its imports changed."""
    pytest.importorskip("torch", reason="the oracle, PyTorch, is not installed")
    twin = folder / example.name
    text = example.read_text().replace("import lazyt as torch", "import torch")
    twin.write_text(
        text.replace("import lazyt.", "import torch.").replace("from lazyt.", "from torch.")
    )
    return twin


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
    twin = in_pytorch(DIGITS, tmp_path)
    options = ["--epochs", 2, "--print-every", 1, "--picture", tmp_path / "p.png"]
    ours, theirs = losses(run(DIGITS, *options))[:200], losses(run(twin, *options))[:200]
    assert len(ours) == len(theirs) == 200
    for a, b in zip(ours, theirs):
        assert abs(a - b) <= 1e-3 * b + 1e-3  # printed to three decimals


# --- four programs --------------------------------------------------------------------------------

# What each is given so that it is done in a few seconds, and the figure it prints as it goes.
PROGRAMS = {
    "char_gpt": (["--steps", 40, "--print-every", 10, "--width", 32, "--length", 20], "loss"),
    "vae_digits": (["--epochs", 4, "--print-every", 1], "loss"),
    "lstm_series": (["--epochs", 6, "--past", 24, "--width", 16], "loss"),
    "reinforce_cartpole": (["--updates", 30, "--limit", 100], "mean return"),
}


def figures(printed: str, name: str) -> list[float]:
    """The figure of each line that a program prints as it goes."""
    line = rf"^(?:step|epoch|update) +\d+  {name} +([\d.]+)"
    return [float(figure) for figure in re.findall(line, printed, re.M)]


def output(name: str, folder: Path) -> Path:
    return folder / ("sample.txt" if name == "char_gpt" else f"{name}.png")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory):
    """What a program printed and wrote, run once."""
    folder = tmp_path_factory.mktemp("examples")

    @functools.cache
    def run_once(name: str) -> tuple[str, Path]:
        needs_extras()
        file = output(name, folder)
        return run(EXAMPLES / f"{name}.py", *PROGRAMS[name][0], "--output", file), file

    return run_once


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_learns(name: str, shown) -> None:
    printed, _ = shown(name)
    first, *_, last = figures(printed, PROGRAMS[name][1])
    if name == "reinforce_cartpole":
        assert last > 1.5 * first
    else:
        assert last < 0.95 * first
    assert re.search(r"^reached: .* in [\d.]+ s$", printed, re.M)


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "char_gpt"])
def test_program_draws(name: str, shown) -> None:
    from matplotlib import image

    printed, file = shown(name)
    assert f"picture: {file}" in printed
    height, width, _ = image.imread(file).shape
    assert height > 400 and width > 800


def test_gpt_continues_the_prompt(shown) -> None:
    printed, file = shown("char_gpt")
    sample = file.read_text()
    assert sample.startswith("The ") and len(sample) == len("The ") + 20 + len("\n")
    assert sample.splitlines()[0][:20].rstrip() in printed


def test_forecasts_beat_yesterday(shown) -> None:
    printed, _ = shown("lstm_series")
    found = re.search(r"error ([\d.]+) on .* gives ([\d.]+),", printed)
    assert found is not None and float(found[1]) < float(found[2])


def test_programs_follow_pytorch(shown, tmp_path: Path) -> None:
    """The import line changed and nothing else: from one seed, the first figures are the same."""
    commands = []
    for name, (options, _) in PROGRAMS.items():
        twin = in_pytorch(EXAMPLES / f"{name}.py", tmp_path)
        commands.append([twin, *options, "--output", output(name, tmp_path)])
    all_of_them = tmp_path / "all_of_them.py"
    all_of_them.write_text(
        "import runpy, sys\n"
        f"for command in {[list(map(str, command)) for command in commands]}:\n"
        "    print('PROGRAM')\n"
        "    sys.argv = command\n"
        "    runpy.run_path(command[0], run_name='__main__')\n"
    )
    _, *printed = run(all_of_them).split("PROGRAM\n")
    for theirs, (name, (_, figure)) in zip(printed, PROGRAMS.items(), strict=True):
        expected, found = figures(theirs, figure), figures(shown(name)[0], figure)
        assert len(found) == len(expected) > 2
        np.testing.assert_allclose(found[:3], expected[:3], rtol=2e-3, err_msg=name)
