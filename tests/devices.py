"""A GPU to trace for where there is none: values are made there, and nothing is computed.

    with pretended_gpus(2):
        x = torch.zeros(3, device="cuda:1")
        x.device          # device(type='cuda', index=1)
        x.tolist()        # raises Unreadable

`devices_of` finds where the tensors are that a function returned, in whatever they are packed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

import lazyt as torch
from lazyt.ir.node import LOCAL, Node
from lazyt.ir.opdef import PLACING
from lazyt.runtime import drain


class Unreadable(Exception):
    """Something on a pretended GPU was to be computed."""


@contextlib.contextmanager
def pretended_gpus(count: int = 2) -> Iterator[None]:
    """While open, lazyt believes that there are GPUs; what is on them is forgotten in the end."""
    before = list(PLACING)
    stand_ins = {
        "is_available": lambda: True,
        "init": lambda: None,
        "current_device": lambda: 0,
        "device_count": lambda: count,
    }
    with contextlib.ExitStack() as stack:
        for name, function in stand_ins.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function, create=True))
        for name, guard in (("_drain", _drains_the_rest), ("revive", _revives_the_rest)):
            guarded = guard(getattr(drain, name))
            stack.enter_context(mock.patch.object(drain, name, guarded))
        try:
            yield
        finally:
            PLACING[:] = before
            LOCAL.trace.clear()


def _take_out(trace: list[Node]) -> None:
    """Takes out of a trace what is on a pretended GPU or computed of what is."""
    found: set[Node] = set()
    for node in trace:
        if _named_elsewhere(node) or any(s in found for s in node.src if isinstance(s, Node)):
            found.add(node)
    trace[:] = [n for n in trace if n not in found]


def _named_elsewhere(node: Node) -> bool:
    return any(
        t.device != "cpu"
        for n in (node, *node.src)
        if isinstance(n, Node)
        for t in (n.type if isinstance(n.type, tuple) else (n.type,))
    )


def _drains_the_rest(function: Callable) -> Callable:
    def run(trace: list[Node]) -> None:
        _take_out(trace)
        function(trace)

    return run


def _revives_the_rest(function: Callable) -> Callable:
    def run(node: Node) -> None:
        below, seen = [node], set()
        while below:
            n = below.pop()
            if n.value is None and n not in seen:
                if _named_elsewhere(n):
                    raise Unreadable
                seen.add(n)
                below += [s for s in n.src if isinstance(s, Node)]
        function(node)

    return run


def devices_of(result: Any) -> set[str]:
    """The devices of all tensors in a result: a tensor, sequences, dicts or modules of them."""
    if isinstance(result, torch.Tensor):
        return {result._storage.node.type.device}
    if isinstance(result, torch.nn.Module):
        return devices_of([*result.parameters(), *result.buffers()])
    if isinstance(result, dict):
        return devices_of(list(result.values()))
    if isinstance(result, (tuple, list)):
        return set().union(*map(devices_of, result))
    return set()


GPU = {"cuda:0"}


def on_gpu(make: Callable[[], Any]) -> Any:
    """What `make` makes where new tensors go to a GPU."""
    with torch.device("cuda"):
        return make()


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:
        call()
    return f"{type(caught.value).__name__}: {caught.value}".split("\n")[0]
