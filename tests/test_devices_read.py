"""Where the results are of what looks at values first: masks as indices, `nonzero`, `unique`, ...

The lines are those of test_devices_everywhere.py; here what is on a GPU is computed.
"""

from __future__ import annotations

import pytest
from devices import GPU, devices_of, error_of, on_gpu
from test_devices_everywhere import READS, TABLES, arguments_of, call, wrong_lines

import lazyt as torch

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", sorted(READS))
def test_results_are_where_the_operands_are(name: str) -> None:
    line = arguments_of(name)
    assert line is not None
    torch.manual_seed(0)
    assert devices_of(on_gpu(lambda: call(name, line))) == GPU


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("table", TABLES)
def test_tables_of_other_tests(table: str) -> None:
    wrong, reads = wrong_lines(TABLES[table])
    assert not wrong, "\n".join(map(str, wrong))
    assert not reads


def test_results_whose_shape_depends_on_values() -> None:
    x = torch.tensor([3, 0, 3, 1], device="cuda")
    mask = x > 0
    found = [x.nonzero(), *x.nonzero(as_tuple=True), *torch.where(mask), torch.argwhere(x)]
    found += [*x.unique(return_inverse=True, return_counts=True), x.bincount(), x[mask]]
    found += [x.masked_select(mask), x.repeat_interleave(x), torch.repeat_interleave(x)]
    found += [torch.nn.functional.one_hot(x), x.view(torch.int32), x.bincount(x.float())]
    assert devices_of(found) == GPU
    assert x.unique().tolist() == [0, 1, 3]
    assert x[mask].tolist() == [3, 3, 1]
    x[mask] = torch.tensor([7, 8, 9], device="cuda")
    assert x.tolist() == [7, 0, 8, 9]
    x[mask.cpu()] = torch.tensor([1, 2, 3], device="cuda")
    assert x.tolist() == [1, 0, 2, 3]
    assert devices_of(x) == GPU


def test_written_masks_are_noticed() -> None:
    """What a backward needs of a mask is looked up anew, on the device of the mask."""
    w = torch.ones(3, device="cuda", requires_grad=True)
    mask = torch.tensor([True, False, True], device="cuda")
    y = (w * 2)[mask].sum()
    mask[0] = False
    assert "has been modified by an inplace operation" in error_of(y.backward)


def test_indices_of_another_device() -> None:
    y, i = torch.arange(4.0), torch.tensor([3, 1], device="cuda")
    text = "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
    assert error_of(lambda: y[i]) == f"RuntimeError: {text}"
    assert error_of(lambda: y[y.cuda() > 1]) == f"RuntimeError: {text}"
    assert y.cuda()[i.cpu()].tolist() == [3.0, 1.0]


def test_moves_carry_values() -> None:
    x = torch.tensor([[1.5, -2.0]], requires_grad=True)
    y = x.to("cuda", torch.float16)
    (y.cpu() * 3).sum().backward()
    assert y.tolist() == [[1.5, -2.0]]
    assert x.grad.tolist() == [[3.0, 3.0]]
    z = torch.zeros(2, 2)
    z[1] = y[0]
    assert z.tolist() == [[0.0, 0.0], [1.5, -2.0]]


def test_streams_of_devices() -> None:
    torch.manual_seed(1)
    first = torch.rand(3, device="cuda").tolist()
    torch.rand(3)
    torch.manual_seed(1)
    torch.rand(3)
    assert torch.rand(3, device="cuda").tolist() == first
    generator = torch.Generator("cuda").manual_seed(1)
    assert torch.rand(3, device="cuda", generator=generator).tolist() == first
    if torch.cuda.device_count() > 1:
        torch.manual_seed(1)
        other = torch.rand(3, device="cuda:1").tolist()
        torch.manual_seed(1)
        torch.rand(3, device="cuda")
        assert torch.rand(3, device="cuda:1").tolist() == other
