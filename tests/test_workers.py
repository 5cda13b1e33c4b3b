"""Loading workers: processes, their seeds, their errors and their deaths, as with PyTorch."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
import warnings
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyt
from lazyt.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    crew,
    get_worker_info,
    transport,
)


class Asking(Dataset):
    """Samples that say which process made them."""

    def __init__(self, size: int = 6) -> None:
        self.size = size
        self.asked = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[int, int, int, int]:
        self.asked += 1
        info = get_worker_info()
        assert info is not None and info.dataset is self and info.num_workers == 2
        return index, os.getpid(), info.id, self.asked


def columns(loader: Any) -> list[list[int]]:
    return [[x for batch in loader for x in batch[i].tolist()] for i in range(4)]


def test_workers_are_processes() -> None:
    dataset = Asking()
    loader = DataLoader(dataset, batch_size=1, num_workers=2)
    batches = list(loader)
    indices, pids, ids, asked = ([int(batch[i]) for batch in batches] for i in range(4))
    assert indices == [0, 1, 2, 3, 4, 5] and ids == [0, 1, 0, 1, 0, 1]
    assert asked == [1, 1, 2, 2, 3, 3] and dataset.asked == 0  # each has a copy
    assert len(set(pids)) == 2 and os.getpid() not in pids and get_worker_info() is None
    assert {int(batch[1]) for batch in loader}.isdisjoint(pids)


def test_persistent_workers_stay() -> None:
    loader = DataLoader(Asking(), batch_size=1, num_workers=2, persistent_workers=True)
    first, second = list(loader), list(loader)
    assert {int(b[1]) for b in first} == {int(b[1]) for b in second}
    assert [int(b[3]) for b in second] == [4, 4, 5, 5, 6, 6]
    for batch in loader:  # left in the middle
        assert int(batch[0]) == 0
        break
    assert [int(b[0]) for b in loader] == [0, 1, 2, 3, 4, 5]


def test_no_process_is_left() -> None:
    for options in ({}, {"persistent_workers": True}):
        loader = DataLoader(Asking(), num_workers=2, **options)
        iterator = iter(loader)
        processes = iterator._crew.processes
        next(iterator)
        assert all(process.is_alive() for process in processes)
        del iterator, loader
        gc.collect()
        assert not any(process.is_alive() for process in processes)


def test_answers_larger_than_a_pipe_do_not_hold_up_the_end() -> None:
    class Large(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            return lazyt.full((1 << 18,), float(index))

    iterator = iter(DataLoader(Large(), num_workers=2))
    assert next(iterator).unique().tolist() == [0.0]
    start = time.monotonic()
    iterator._crew.close()
    assert not any(process.is_alive() for process in iterator._crew.processes)
    assert time.monotonic() - start < 4  # nobody had to be terminated


def test_what_is_pending_is_computed_once_before_the_workers_begin() -> None:
    x = lazyt.arange(8.0) * 2

    class Rows(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            return x[index]

    iterator = iter(DataLoader(Rows(), batch_size=4, num_workers=2))
    assert x._storage.node.value is not None
    assert [b.tolist() for b in iterator] == [[0.0, 2.0, 4.0, 6.0], [8.0, 10.0, 12.0, 14.0]]


def test_plain_rows_need_no_process() -> None:
    dataset = TensorDataset(lazyt.arange(4))
    iterator = iter(DataLoader(dataset, num_workers=2))
    assert iterator._crew.processes == [] and len(list(iterator)) == 4
    iterator = iter(DataLoader(dataset, num_workers=2, worker_init_fn=abs))
    assert len(iterator._crew.processes) == 2 and len(list(iterator)) == 4


# What goes between processes


class Results(Dataset):
    """Samples of many kinds."""

    memory = lazyt.zeros(1000)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return {
            "half": lazyt.ones(2, dtype=lazyt.bfloat16),
            "turned": lazyt.arange(6.0).view(2, 3).t(),
            "parameter": lazyt.nn.Parameter(lazyt.ones(1)),
            "part": self.memory[3:5],
            "texts": ("a", [None, True]),
        }


def test_results_keep_their_kind() -> None:
    (result,) = DataLoader(Results(), batch_size=None, num_workers=1)
    assert result["half"].dtype == lazyt.bfloat16
    assert result["turned"].stride() == (1, 3) and result["turned"][2].tolist() == [2.0, 5.0]
    assert type(result["parameter"]) is lazyt.nn.Parameter and result["parameter"].requires_grad
    assert result["part"].tolist() == [0.0, 0.0] and result["texts"] == ["a", [None, True]]


def test_a_part_goes_without_the_rest() -> None:
    whole = lazyt.zeros(100_000)
    assert len(ForkingPickler.dumps(whole[:3])) < 1000 < len(ForkingPickler.dumps(whole))


class Large(Dataset):
    """Samples with many arrays, some of them large."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        whole = np.arange(1 << 18, dtype=np.float32).reshape(512, 512) + index
        return {
            "tensor": lazyt.as_tensor(whole),
            "half": lazyt.as_tensor(whole).bfloat16(),
            "turned": lazyt.as_tensor(whole).t(),
            "many": [np.full(1 << 15, i) for i in range(70)],
            "text": ["a"],
        }


@pytest.mark.parametrize("files", [64, 0])
def test_large_arrays_go_beside_the_pickle(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In files where there can be some, which are closed again; in it where there cannot."""
    monkeypatch.setattr(transport, "_MOST_FILES", min(files, transport._MOST_FILES))

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0

    iterator = iter(DataLoader(Large(), None, num_workers=1, collate_fn=lambda sample: sample))
    before = open_files()
    for i, sample in enumerate(iterator):
        expected = np.arange(1 << 18, dtype=np.float32).reshape(512, 512) + i
        assert np.array_equal(sample["tensor"].numpy(), expected)
        assert sample["turned"].stride() == (1, 512)
        assert np.array_equal(sample["turned"].numpy(), expected.T)
        assert sample["half"].dtype == lazyt.bfloat16
        assert sample["half"][1, 0].item() == 512.0 and sample["text"] == ["a"]
        assert [int(a.sum()) >> 15 for a in sample["many"]] == list(range(70))
        sample["many"][3][0] = 1  # it is the receiver's own
        sample["tensor"].mul_(2)
    assert open_files() <= before


class Wrong(Dataset):
    """A data set whose samples go wrong, in the way of `kind`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            getattr(self, self.kind)()
        if self.kind == "not_picklable":
            return lambda: None
        return index

    def value(self) -> None:
        raise ValueError("sample 1 is bad")

    def key(self) -> None:
        raise KeyError("name")

    def peculiar(self) -> None:
        raise UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")

    def end(self) -> None:
        raise StopIteration

    def dies(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def exits(self) -> None:
        os._exit(3)

    def sleeps(self) -> None:
        time.sleep(30)

    def not_picklable(self) -> None:
        pass


def outcomes(kind: str, **options: Any) -> list[Any]:
    """What comes of every batch of a wrong data set: a number, or an error."""
    results: list[Any] = []
    iterator = iter(DataLoader(Wrong(kind), num_workers=2, **options))
    while True:
        try:
            results.append(next(iterator).item())
        except StopIteration:
            return results
        except Exception as error:
            results.append(error)


@pytest.mark.parametrize(
    ("kind", "raised", "caught", "said"),
    [
        ("value", ValueError, "ValueError", "sample 1 is bad"),
        ("key", KeyError, "KeyError", "'name'"),
        # Of these none can be made of a text alone.
        ("peculiar", RuntimeError, "UnicodeDecodeError", "'utf-8' codec can't decode byte 0x78"),
    ],
)
def test_errors_of_workers_are_raised_here(kind: str, raised: type, caught: str, said: str) -> None:
    first, error, *rest = outcomes(kind)
    assert [first, *rest] == [0, 2, 3] and type(error) is raised
    begin, *frames, last = str(error).rstrip("\n").split("\n")
    assert begin == f"Caught {caught} in DataLoader worker process 1."
    assert frames[0] == "Original Traceback (most recent call last):"
    assert last.startswith(f"{caught}: {said}")
    assert 'test_workers.py", line' in frames[-2] and frames[-2].endswith(f"in {kind}")
    assert frames[-1].startswith("    raise ")


def test_a_stop_iteration_ends_the_pass() -> None:
    assert outcomes("end") == [0]


def failing_init(worker: int) -> None:
    raise OSError(f"worker {worker} does not start")


def test_errors_of_the_init_function() -> None:
    for i, error in enumerate(outcomes("value", worker_init_fn=failing_init)):
        assert type(error) is OSError and f"worker {i % 2} does not start" in str(error)


@pytest.mark.parametrize(
    ("kind", "how"),
    [("dies", "is killed by signal: Killed"), ("exits", "exited unexpectedly with exit code 3")],
)
def test_a_death_is_told(kind: str, how: str) -> None:
    iterator = iter(DataLoader(Wrong(kind), num_workers=2))
    pid = iterator._crew.processes[1].pid
    seen: list[int] = []
    with pytest.raises(RuntimeError) as caught:
        seen.extend(batch.item() for batch in iterator)
    assert str(caught.value) == f"DataLoader worker (pid(s) {pid}) exited unexpectedly"
    assert f"DataLoader worker (pid {pid}) {how}" in str(caught.value.__cause__)
    # What the other worker makes is still to be had.
    assert seen + [batch.item() for batch in iterator] == [0, 2]


def test_a_forked_process_leaves_the_workers_alone() -> None:
    iterator = iter(DataLoader(Asking(), num_workers=2))
    next(iterator)
    child = multiprocessing.get_context("fork").Process(target=iterator._crew.close)
    child.start()
    child.join()
    assert child.exitcode == 0 and len(list(iterator)) == 5


def test_what_cannot_be_sent_is_an_error() -> None:
    loader = DataLoader(Wrong("not_picklable"), batch_size=None, num_workers=1)
    with pytest.raises((AttributeError, RuntimeError), match="in DataLoader worker process 0"):
        next(iter(loader))

    class Grown(Dataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return lazyt.ones(1, requires_grad=True) * 2

    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        next(iter(DataLoader(Grown(), num_workers=1)))


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "CHECK_SECONDS", 0.2)  # then it is terminated
    loader = DataLoader(Wrong("sleeps"), num_workers=1, timeout=0.2)
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0.2 seconds"):
        list(loader)


# Order and start


class Slow(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        if index == 0:
            time.sleep(0.5)
        return index


def test_batches_may_come_out_of_order() -> None:
    loader = DataLoader(Slow(), num_workers=2, in_order=False)
    found = [batch.item() for batch in loader]
    assert sorted(found) == [0, 1, 2, 3, 4, 5] and found[0] != 0
    assert [b.item() for b in DataLoader(Slow(), num_workers=2)] == [0, 1, 2, 3, 4, 5]


class Seeded(IterableDataset):
    def __iter__(self) -> Any:
        info = get_worker_info()
        assert info is not None
        yield info.id, info.seed - info.id, lazyt.rand(1).item()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_how_workers_are_started(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    loader = DataLoader(
        Seeded(),
        batch_size=None,
        num_workers=1,
        multiprocessing_context=method,
        generator=lazyt.Generator().manual_seed(5),
    )
    ((worker, seed, drawn),) = loader
    lazyt.manual_seed(seed)
    assert worker == 0 and drawn == lazyt.rand(1).item()
    context = multiprocessing.get_context(method)
    loader.multiprocessing_context = context
    assert loader.multiprocessing_context is context


PROGRAM = """
import sys
import torch
from torch.utils.data import DataLoader, Dataset

class Doubled(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor(2.0 * index)

if __name__ == "__main__":
    for method in sys.argv[1:]:
        loader = DataLoader(Doubled(), 2, num_workers=1, multiprocessing_context=method)
        print(method, torch.__name__, [batch.tolist() for batch in loader])
"""


def test_torch_is_lazyt_in_spawned_workers(tmp_path: Path) -> None:
    """Under `python -m lazyt`, whose name for lazyt a new process does not know by itself."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "lazyt", "program.py", "fork", "spawn"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    expected = "lazyt [[0.0, 2.0], [4.0, 6.0]]"
    methods = ("fork", "spawn")
    assert done.stdout == "".join(f"{method} {expected}\n" for method in methods), done.stderr


class Eager:
    """A sampler that draws when its iterator is made, not when an index is asked for."""

    def __init__(self, lib: types.ModuleType) -> None:
        self.lib = lib

    def __iter__(self) -> Any:
        return iter(self.lib.randperm(4).tolist())

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("workers", [0, 2])
def test_an_eager_sampler_draws_when_torchs_does(workers: int, oracle: Any) -> None:
    rows = []
    for lib in (lazyt, oracle):
        lib.manual_seed(3)
        loader = lib.utils.data.DataLoader(
            range(4), sampler=Eager(lib), num_workers=workers, batch_size=2
        )
        rows.append([b.tolist() for _ in range(2) for b in loader] + [lib.rand(1).item()])
    assert rows[0] == rows[1]


LOADERS = """
DataLoader(range(3), num_workers=1, multiprocessing_context="thread")
DataLoader(range(3), num_workers=1, multiprocessing_context=3)
DataLoader(range(3), multiprocessing_context="fork")
DataLoader(range(3), num_workers=1, prefetch_factor=-1)
iter(DataLoader(range(3), num_workers=1, prefetch_factor=0))
iter(DataLoader(range(3), timeout=2))
iter(DataLoader(range(3), pin_memory=True)) and None
iter(DataLoader(range(3), pin_memory=True, pin_memory_device="cuda")) and None
DataLoader(range(3), num_workers=1000) and None
__import__("pickle").dumps(iter(DataLoader(range(3))))
"""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # PyTorch's
@pytest.mark.parametrize("line", LOADERS.strip().splitlines())
def test_what_is_said_is_what_torch_says(line: str, oracle: Any) -> None:
    rows = []
    for lib in (lazyt, oracle):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = eval(line, vars(lib.utils.data).copy())
            except Exception as error:
                result = (type(error), str(error))
        rows.append((result, [(w.category, str(w.message)) for w in caught]))
    assert rows[0] == rows[1]


def doubled(queue: Any) -> None:
    queue.put(queue.get() * 2)


def test_queues_take_tensors(oracle: Any) -> None:
    ours = lazyt.multiprocessing
    context = ours.get_context("fork")
    queue = context.Queue()
    whole = lazyt.arange(6.0)
    queue.put(whole[2:4])
    assert queue.get(timeout=10).tolist() == [2.0, 3.0]
    queue.put(whole)
    process = context.Process(target=doubled, args=(queue,))
    process.start()
    process.join()
    assert queue.get(timeout=10).tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    theirs = oracle.multiprocessing
    assert not [name for name in theirs.__all__ if not hasattr(ours, name)]
    assert ours.get_all_sharing_strategies() == theirs.get_all_sharing_strategies()
    with pytest.raises(AssertionError, match="invalid sharing strategy 'x'"):
        ours.set_sharing_strategy("x")
