"""Data sets, samplers, collation and the DataLoader, with PyTorch's random stream."""

from __future__ import annotations

import random
import warnings
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import lazyt
from lazyt.utils import data as ours
from lazyt.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)

Point = namedtuple("Point", "x y")


def rows(loader) -> list[list[int]]:
    return [batch[0].tolist() for batch in loader]


TEN = TensorDataset(lazyt.arange(10))


# The stream: what PyTorch 2.13.0 prints


def test_shuffles_are_pytorchs():
    lazyt.manual_seed(0)
    loader = DataLoader(TEN, batch_size=4, shuffle=True)
    assert rows(loader) == [[6, 7, 1, 4], [2, 0, 9, 8], [3, 5]]
    assert rows(loader) == [[2, 4, 7, 0], [8, 9, 5, 3], [6, 1]]
    assert lazyt.rand(1).item() == pytest.approx(0.4556, abs=5e-5)
    own = DataLoader(TEN, 5, shuffle=True, generator=lazyt.Generator().manual_seed(1))
    assert rows(own) == [[4, 6, 9, 2, 3], [1, 0, 7, 8, 5]]
    parts = random_split(TEN, [7, 3], generator=lazyt.Generator().manual_seed(42))
    assert [list(part.indices) for part in parts] == [[2, 6, 1, 8, 4, 5, 0], [9, 3, 7]]
    assert list(RandomSampler(range(6))) == [4, 0, 3, 1, 5, 2]
    assert list(WeightedRandomSampler([1.0, 2.0, 3.0], 6)) == [1, 1, 0, 1, 1, 1]
    assert list(random_split(range(5), [0.6, 0.4])[0]) == [4, 1, 0]


def test_reading_does_not_move_the_stream():
    def epochs(read):
        lazyt.manual_seed(3)
        out = []
        for _ in range(2):
            for (batch,) in DataLoader(TEN, batch_size=4, shuffle=True):
                if read:
                    batch.sum().item()
                lazyt.rand(2)
                out.append(batch)
        return lazyt.cat(out).tolist()

    first = epochs(read=False)
    assert first == epochs(read=True) and first[:10] != first[10:]
    assert sorted(first[:10]) == list(range(10))


# The oracle


class Draws:
    """Samples that are drawn at random, from all three sources."""

    def __init__(self, lib, module):
        self.lib, self.module = lib, module

    def __len__(self):
        return 7

    def __getitem__(self, i):
        info = self.module.get_worker_info()
        worker = (-1, 0) if info is None else (info.id, info.seed)
        return self.lib.rand(2), random.random(), np.random.rand(), i, *worker


def stream_of(module, sizes):
    class Stream(module.IterableDataset):
        def __iter__(self):
            info = module.get_worker_info()
            first, step = (0, 1) if info is None else (info.id, info.num_workers)
            return iter(range(first, sizes[first], step))

        def __len__(self):
            return 12

    return Stream()


def tensor_set(lib, module):
    return module.TensorDataset(lib.arange(22).view(11, 2), lib.arange(11.0))


LOADERS = {
    "in order": lambda t, m: m.DataLoader(tensor_set(t, m), batch_size=3),
    "shuffled": lambda t, m: m.DataLoader(tensor_set(t, m), 3, shuffle=True, drop_last=True),
    "split": lambda t, m: m.DataLoader(
        m.random_split(tensor_set(t, m), [0.6, 0.4])[0], batch_size=2, shuffle=True
    ),
    "strided": lambda t, m: m.DataLoader(t.arange(12).view(3, 4).t(), batch_size=2, shuffle=True),
    "single": lambda t, m: m.DataLoader(tensor_set(t, m), batch_size=None, shuffle=True),
    "arrays": lambda t, m: m.DataLoader(np.arange(6.0).reshape(3, 2), batch_size=2),
    "replacement": lambda t, m: m.DataLoader(
        tensor_set(t, m), 8, sampler=m.RandomSampler(range(11), replacement=True, num_samples=40)
    ),
    "longer": lambda t, m: m.DataLoader(
        tensor_set(t, m), 8, sampler=m.RandomSampler(range(11), num_samples=25)
    ),
    "subset": lambda t, m: m.DataLoader(
        tensor_set(t, m), 2, sampler=m.SubsetRandomSampler([1, 5, 2])
    ),
    "batches": lambda t, m: m.DataLoader(tensor_set(t, m), batch_sampler=[[0, -1], [3, 3, 3]]),
    "draws": lambda t, m: m.DataLoader(Draws(t, m), batch_size=2, shuffle=True),
    "draws in workers": lambda t, m: m.DataLoader(
        Draws(t, m), batch_size=2, shuffle=True, num_workers=2
    ),
    "persistent workers": lambda t, m: m.DataLoader(
        Draws(t, m), 2, shuffle=True, num_workers=2, persistent_workers=True, prefetch_factor=1
    ),
    "initialised workers": lambda t, m: m.DataLoader(
        Draws(t, m), 2, num_workers=2, worker_init_fn=lambda i: t.manual_seed(i)
    ),
    "rows in workers": lambda t, m: m.DataLoader(
        tensor_set(t, m), batch_size=3, shuffle=True, num_workers=2
    ),
    "stream": lambda t, m: m.DataLoader(stream_of(m, [11]), batch_size=3, drop_last=True),
    "chained": lambda t, m: m.DataLoader(stream_of(m, [3]) + stream_of(m, [2]), batch_size=4),
    "stream in workers": lambda t, m: m.DataLoader(
        stream_of(m, [7, 12]), batch_size=2, num_workers=2
    ),
}


def plain(value):
    """A batch as Python values with the types that matter."""
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return str(value.dtype), tuple(value.stride()), value.tolist()
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(v) for v in value]
    return value


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.filterwarnings("ignore")
def test_against_the_oracle(name):
    torch = pytest.importorskip("torch")
    import torch.utils.data as theirs

    def run(lib, module):
        lib.manual_seed(5)
        random.seed(1)
        np.random.seed(2)
        loader = LOADERS[name](lib, module)
        out = []
        for _ in range(2):
            for batch in loader:
                out.append((plain(batch), lib.rand(1).item()))
        return out, len(loader), lib.rand(1).item(), random.random(), np.random.rand()

    assert run(lazyt, ours) == run(torch, theirs)


# Batches


def test_batches_are_copies():
    x = lazyt.arange(14.0).view(7, 2)
    for shuffle in (False, True):
        (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=4, shuffle=shuffle)))
        batch.zero_()
        assert x[0].tolist() == [0.0, 1.0] and x[1].tolist() == [2.0, 3.0]


def test_taking_rows_at_once_is_only_for_plain_rows():
    """Whatever can tell rows stacked singly from rows taken at once gets them singly."""
    x = lazyt.arange(6.0).view(3, 2)

    class Doubled(TensorDataset):
        def __getitem__(self, index):
            return tuple(2 * t for t in super().__getitem__(index))

    assert rows(DataLoader(Doubled(x), 2))[0] == [[0.0, 2.0], [4.0, 6.0]]
    assert rows(DataLoader(TensorDataset(x), batch_sampler=[[-1, 0]])) == [[[4.0, 5.0], [0.0, 1.0]]]
    with pytest.raises(IndexError):
        rows(DataLoader(TensorDataset(x), batch_sampler=[[0, 3]]))
    w = lazyt.ones(3, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(w), batch_size=2)))
    batch.sum().backward()
    assert w.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]


def test_default_collate():
    samples = [
        {
            "f": 0.5 * i,
            "i": i,
            "s": str(i),
            "a": np.full(2, i, np.float32),
            "t": (lazyt.tensor(i), [i, -i]),
            "b": i > 0,
            "p": Point(i, np.float64(i)),
            "z": lazyt.zeros(1, 2),
        }
        for i in range(3)
    ]
    batch = default_collate(samples)
    assert {k: str(batch[k].dtype) for k in "fiabz"} == {
        "f": "torch.float64",
        "i": "torch.int64",
        "a": "torch.float32",
        "b": "torch.bool",
        "z": "torch.float32",
    }
    assert batch["s"] == ["0", "1", "2"] and batch["z"].shape == (3, 1, 2)
    assert type(batch["t"]) is list and batch["t"][1][1].tolist() == [0, -1, -2]
    assert type(batch["p"]) is Point and batch["p"].y.dtype == lazyt.float64
    assert type(default_collate([OrderedDict(a=1)])) is OrderedDict
    assert default_collate([np.int64(3), np.int64(4)]).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("batch", "error", "text"),
    [
        ([None], TypeError, "found <class 'NoneType'>"),
        ([np.array(["a"])], TypeError, "found <U1"),
        ([[1], [1, 2]], RuntimeError, "each element in list of batch should be of equal size"),
        (
            [lazyt.ones(2), lazyt.ones(3)],
            RuntimeError,
            "stack expects each tensor to be equal size",
        ),
        ([{"a": 1}, {"b": 2}], KeyError, "a"),
        ([], IndexError, "list index out of range"),
    ],
)
def test_what_cannot_be_collated(batch, error, text):
    with pytest.raises(error, match=text):
        default_collate(batch)


def test_default_convert():
    converted = default_convert({"a": np.ones(2), "t": (1, np.float32(2)), "s": "x"})
    assert converted["a"].dtype == lazyt.float64 and converted["s"] == "x"
    assert converted["t"][0] == 1 and converted["t"][1].dtype == lazyt.float32
    assert list(DataLoader(range(4), batch_size=None)) == [0, 1, 2, 3]
    assert list(DataLoader("abc", batch_size=2, collate_fn="".join)) == ["ab", "c"]


# Data sets and samplers


def test_data_sets():
    subset = Subset(TEN, [7, 2, 5])
    assert len(subset) == 3 and subset[0][0].item() == 7 and Subset(subset, [1])[0][0].item() == 2
    joined = ConcatDataset([subset, TEN]) + TensorDataset(lazyt.tensor([99]))
    assert len(joined) == 14 and [joined[i][0].item() for i in (0, 3, -1)] == [7, 0, 99]
    with pytest.raises(ValueError, match="absolute value of index"):
        joined[-15]
    assert [len(p) for p in random_split(TEN, [0.5, 0.3, 0.2])] == [5, 3, 2]
    assert [len(p) for p in random_split(range(7), [0.5, 0.5])] == [4, 3]
    with pytest.raises(ValueError, match="Sum of input lengths does not equal"):
        random_split(TEN, [4, 4])
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        TensorDataset(lazyt.ones(2), lazyt.ones(3))
    assert Dataset[int] and IterableDataset[int]


def test_samplers():
    batches = BatchSampler(SequentialSampler(range(5)), 2, False)
    assert list(batches) == [[0, 1], [2, 3], [4]] and len(batches) == 3
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert sorted(SubsetRandomSampler([3, 1, 4])) == [1, 3, 4]
    assert set(WeightedRandomSampler([0.0, 1.0, 0.0, 2.0], 50)) == {1, 3}
    assert len(RandomSampler(range(5), replacement=True, num_samples=9)) == 9


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))

    def __len__(self):
        return 2


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: DataLoader(TEN, shuffle=True, sampler=[0]), ValueError, "mutually exclusive with"),
        (lambda: DataLoader(TEN, batch_size=0), ValueError, "positive integer value, but got"),
        (lambda: DataLoader(TEN, num_workers=-1), ValueError, "should be non-negative"),
        (lambda: DataLoader(TEN, timeout=-1), ValueError, "timeout option should be"),
        (lambda: DataLoader(TEN, prefetch_factor=2), ValueError, "could only be specified in"),
        (lambda: DataLoader(TEN, persistent_workers=True), ValueError, "needs num_workers > 0"),
        (
            lambda: DataLoader(TEN, batch_sampler=[[0]], batch_size=2),
            ValueError,
            "batch_sampler option is mutually exclusive",
        ),
        (lambda: DataLoader(TEN, None, drop_last=True), ValueError, "disables auto-batching"),
        (lambda: DataLoader(Stream(), sampler=[0]), ValueError, "unspecified sampler option"),
        (lambda: DataLoader(Stream(), shuffle=True), ValueError, "unspecified shuffle option"),
        (lambda: setattr(DataLoader(TEN), "batch_size", 2), ValueError, "should not be set after"),
        (lambda: DataLoader([], shuffle=True), ValueError, "num_samples=0"),
        (lambda: RandomSampler(TEN, replacement=1), TypeError, "should be a boolean value"),
        (lambda: WeightedRandomSampler([[1.0]], 2), ValueError, r"have shape \(1, 1\)"),
        (lambda: BatchSampler(range(3), 2, 1), ValueError, "drop_last should be a boolean"),
    ],
)
def test_misuse_is_named(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_stream_longer_than_it_said():
    loader = DataLoader(Stream(), batch_size=None)
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2"):
        assert list(loader) == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [b.tolist() for b in DataLoader(Stream(), batch_size=2)] == [[0, 1], [2]]


def test_stacked_data_sets(oracle):
    theirs = oracle.utils.data

    def run(lib, module):
        x, y = lib.arange(6.0).view(3, 2), lib.arange(3)
        rows = module.TensorDataset(x)
        pairs = module.StackDataset(module.Subset(y, [2, 0, 1]), rows)
        named = module.StackDataset(first=x, second=pairs)
        loader = module.DataLoader(named, batch_size=2)
        found = [plain(pairs[1]), len(named), [plain(v) for v in named[2].values()]]
        return found + [[plain(v) for v in batch.values()] for batch in loader]

    assert run(lazyt, ours) == run(oracle, theirs)
    for module in (ours, theirs):
        with pytest.raises(ValueError, match="At least one dataset should be passed"):
            module.StackDataset()
        with pytest.raises(ValueError, match="but both types are given"):
            module.StackDataset([1], a=[2])
        with pytest.raises(ValueError, match="Size mismatch between datasets"):
            module.StackDataset([1], [2, 3])


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": True, "seed": 3}])
@pytest.mark.parametrize("size", [1, 7, 8])
def test_shares_of_several_processes(options, size, oracle):
    for rank in range(3):
        samplers = [
            module.DistributedSampler(range(size), num_replicas=3, rank=rank, **options)
            for module in (ours, oracle.utils.data)
        ]
        for epoch in (0, 4):
            for sampler in samplers:
                sampler.set_epoch(epoch)
            assert list(samplers[0]) == list(samplers[1]) and len(samplers[0]) == len(samplers[1])
    with pytest.raises(ValueError, match="Invalid rank 3, rank should be in the interval"):
        ours.DistributedSampler(range(size), 3, 3)
    with pytest.raises(RuntimeError, match="Requires distributed package to be available"):
        ours.DistributedSampler(range(size))
