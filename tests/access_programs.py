"""Programs whose loop nests read and write elsewhere than at their own point, for any device.

programs()["rows_of_a_table"]("cpu")     a list of tensors
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazyt as torch
import lazyt.nn.functional as F

Program = Callable[[str], list]


def drawn(device: str, *shape: int, seed: int = 0) -> Any:
    """A tensor of normal numbers that are there."""
    torch.manual_seed(seed)
    x = torch.randn(*shape).to(device)
    torch.tensor(x.cpu().tolist())
    return x


def whole(device: str, values: list) -> Any:
    x = torch.tensor(values).to(device)
    x.tolist()
    return x


def programs() -> dict[str, Program]:
    return {
        "rows_of_a_table": _rows,
        "transposed_table": _transposed,
        "two_indices": _two_indices,
        "indices_that_are_computed": _computed,
        "a_sum_of_picked_rows": _summed,
        "one_element_a_row": _one_a_row,
        "halves": _halves,
        "scores_from_memory": _scores,
        "positions": _positions,
        "rearranged": _rearranged,
        "norms": _norms,
        "framed": _framed,
        "joined": _joined,
    }


def _rows(device: str) -> list:
    table, at = drawn(device, 7, 33), whole(device, [[3, 0, -1], [6, -7, 3]])
    return [table[at] * 2 + 1, F.embedding(at % 7, table), table.index_select(1, at[0] + 3)]


def _transposed(device: str) -> list:
    table, at = drawn(device, 7, 5), whole(device, [4, 0, -1, 2])
    return [table.t()[at] + 0.5, table.expand(3, 7, 5)[:, at], table[:, ::2][at - 1]]


def _two_indices(device: str) -> list:
    x, i, j = drawn(device, 4, 6, 5), whole(device, [[1], [-1]]), whole(device, [0, 4, 2])
    return [x[i, j] * 2, x[:, i, j] * 2, x[i, :, j] * 2, x[i, j, i] - 1]


def _computed(device: str) -> list:
    table, at = drawn(device, 9, 4), whole(device, [4, 0, 1, 2])
    return [table[at * 2] + table[at + 1], (table * 2)[at.flip(0) + 1]]


def _summed(device: str) -> list:
    table, at = drawn(device, 9, 300), whole(device, [4, 0, 8, 8, -2])
    rows = table[at]
    return [rows.sum(1), rows.sum(0), torch.softmax(rows, 1), table[at].mean()]


def _one_a_row(device: str) -> list:
    x, at = drawn(device, 40, 6), whole(device, [k * 7 % 6 for k in range(40)])
    picked = x.gather(1, at[:, None])
    return [torch.log_softmax(x, 1).gather(1, at[:, None]), picked.squeeze(1) * 2, picked.sum()]


def _halves(device: str) -> list:
    x, at = drawn(device, 6, 50), whole(device, [5, 1, 1])
    return [x.half()[at] * 2, x.bfloat16()[at] + 1, (x.bfloat16() * 3).sum(1), x.half().exp()]


def _scores(device: str) -> list:
    x, target = drawn(device, 6, 4, 3), whole(device, [[0, 3, -100]] * 6)
    return [F.nll_loss(x, target), F.nll_loss(x, target, reduction="none") * 2]


def _positions(device: str) -> list:
    x = drawn(device, 7, 300)
    holes = whole(device, [[1.0, float("nan"), 3.0, float("nan")], [2.0, 5.0, 5.0, -1.0]])
    equal = whole(device, [[3, 7, 7], [-1, -1, -2]])
    found = [x.argmax(1), x.argmin(0), x.max(1)[1] * 2, x.min(0)[0] + x.min(0)[1], x.argmax()]
    found += [holes.argmax(1), holes.argmin(1), holes.max(1).values, holes.max(0).indices]
    return [*found, equal.argmax(1), equal.min(1).indices, (equal > 2).int().argmax(1)]


def _rearranged(device: str) -> list:
    x = drawn(device, 5, 6)
    tables = [torch.tril(x, -1) + 1, torch.triu(x * 2, 1), torch.tril(x.bfloat16())]
    turned = [x.flip(0, 1) * 2, x.t().flip(1) + x.flip(0).t(), x.flip(1)[:, ::2].sum(1)]
    repeated = [x.repeat(2, 3) + 1, x.repeat_interleave(3, 1) * 2, x.cumsum(0).flip(0)]
    counts = [torch.arange(3, 12, 2, device=device) * 2, torch.arange(5, device=device) / 2]
    return [*tables, *turned, *repeated, *counts, torch.linspace(0, 1, 5, device=device) + 1]


def _norms(device: str) -> list:
    x = drawn(device, 5, 300).requires_grad_()
    y = x.norm() + torch.linalg.vector_norm(x, 3, 1).sum() + x.norm(dim=1).sum()
    y.backward()
    pieces = drawn(device, 6, 4).requires_grad_()
    (pieces[1:3] * pieces[2:4] + pieces[:2, :1]).sum().backward()
    return [y.detach(), x.grad, pieces.grad]


def _framed(device: str) -> list:
    x, image = drawn(device, 5, 6), drawn(device, 2, 3, 7, 40)
    frames = [
        F.pad(x, (1, 2)) * 2,
        F.pad(x + 1, (-1, 2, 3, -2), value=0.5),
        F.pad(x.t(), (0, 0, 2, 2)),
    ]
    frames += [F.pad(image, (1, 1, 1, 1)).relu(), F.pad(image, (2, 0), value=-1.0).sum(3)]
    halves = [F.pad(x.half(), (1, 1)), F.pad(x.bfloat16(), (1, 1), value=0.1) * 2]
    return [*frames, *halves, torch.softmax(F.pad(x, (0, 3), value=-float("inf")), 1)]


def _joined(device: str) -> list:
    x, y = drawn(device, 5, 6), drawn(device, 5, 2, seed=1)
    ones = torch.ones(5, 3, device=device)
    joined = [torch.cat([x, y], 1) * 2, torch.cat([x * 2, ones, y.exp()], 1), torch.stack([x, -x])]
    joined += [torch.cat([x.t(), x[:1].t()], 1).sum(1), torch.cat([x.half(), y.half()], 1)]
    rolled = [x.roll(2, 1) + 1, x.roll((1, -2), (0, 1)), torch.roll(x * 2, 3), x.roll(0, 1) * 2]
    at = whole(device, [3, 0])
    return [*joined, *rolled, torch.cat([x[at], y[at]], 1), torch.cat([at, at + 1])]
