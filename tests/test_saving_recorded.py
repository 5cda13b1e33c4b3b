"""Files that PyTorch 2.13.0 wrote, where it is not installed: tests/data/saved, recorded by
`python tests/record.py saved`."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from saved_things import RECORDED, THINGS, containers, file_of, network, same

import lazyt


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
@pytest.mark.parametrize("make", THINGS, ids=lambda f: f.__name__)
def test_what_pytorch_wrote_is_read(make: Callable, old: bool) -> None:
    path = RECORDED / f"{make.__name__}{'_old' if old else ''}.pt"
    same(lazyt.load(path), make(lazyt))
    same(lazyt.load(path, weights_only=False), make(lazyt))
    if not old:
        same(lazyt.load(path, mmap=True), make(lazyt))


@pytest.mark.parametrize("make", THINGS, ids=lambda f: f.__name__)
def test_what_lazyt_writes_is_what_pytorch_wrote(make: Callable) -> None:
    if make is containers and sys.version_info >= (3, 13):
        pytest.skip("was recorded with Python 3.11, which refers to equal texts otherwise")
    theirs = (RECORDED / f"{make.__name__}.pt").read_bytes()
    ours = file_of(lazyt, make(lazyt))
    records: list[dict[str, Any]] = []
    for data in (theirs, ours):
        zipped = zipfile.ZipFile(io.BytesIO(data))
        entries = zipped.infolist()
        records.append({e.filename: (e.header_offset, zipped.read(e.filename)) for e in entries})
    for kept in records:
        offset, number = kept.pop("archive/.data/serialization_id")
        assert len(number) == 40 and number.isdigit() and offset
    assert records[0] == records[1] and len(theirs) == len(ours)


def test_a_network_that_pytorch_wrote() -> None:
    net = lazyt.load(RECORDED / "network.pt", weights_only=False)
    expected = network(lazyt)
    assert repr(net) == repr(expected)
    same(net.state_dict(), expected.state_dict())
    x = lazyt.arange(32.0).view(2, 1, 4, 4) / 16
    assert net.eval()(x).tolist() == expected.eval()(x).tolist()
