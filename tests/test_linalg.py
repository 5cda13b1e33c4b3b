"""Matrix products, einsum and torch.linalg against PyTorch: values, names, gradients, errors."""

from __future__ import annotations

import types
from typing import Any

import pytest
from derivatives import check
from harness import load
from surface import lines_of

PRODUCTS = """
torch.ones(4, 576) @ torch.ones(400, 120)
x @ w
torch.mm(x, w)
x.mm(w)
x @ v
torch.mv(x, v)
v @ v
torch.dot(v, v.detach())
v @ w
y @ w
y @ z
x @ z
v @ z
y @ v
y @ z[0]
y[None] @ z
y.reshape(2, 1, 3, 4) @ z
torch.bmm(y, z)
x @ d.t()
i @ x.t()
i @ i.t()
b @ b.t()
h @ h.t()
bf @ bf.t()
h @ x.t()
x @ 2
x @ [1]
torch.matmul(x, 2)
s @ v
v @ s
torch.dot(v, v[:3])
torch.dot(v, v.double())
torch.dot(x, x)
torch.mv(x, v[:3])
torch.mv(x, v.double())
torch.mv(v, v)
torch.mv(x, x)
torch.bmm(x, x)
torch.bmm(y, y)
torch.bmm(y, z.double())
torch.bmm(y, w)
torch.bmm(y, torch.ones(3, 4, 5))
x @ v[:3]
v[:3] @ w
y @ torch.ones(3, 4, 5)
y @ y
y @ x
y @ v[:2]
torch.ones(2) @ torch.ones(2, 3, 4)
y @ z.double()
y @ w.double()
torch.addmm(v[:1], x, w)
torch.addmm(torch.ones(5), x, w)
torch.addmm(torch.ones(3, 5), x, w, beta=0.5, alpha=2)
torch.addmm(torch.full((5,), nan), x, w, beta=0)
torch.addmm(torch.ones(4), x, w)
torch.addmm(torch.ones(5), w, w)
torch.addmm(torch.ones(5), x, w.double())
torch.addmm(torch.ones(5).double(), x, w)
torch.addmm(i[0, :1], i, i.t(), beta=0.5)
torch.addmm(torch.ones(5), v, w)
torch.addmm(torch.ones(2, 3, 5), x, w)
torch.addmm(bf[:, :3], bf, bf.t())
torch.addmm(h[:, :3], h, h.t())
torch.addmv(torch.ones(3), x, v)
torch.addmv(v[:3], x, v, alpha=2, beta=3)
torch.addmv(torch.ones(3), x, v[:3])
torch.addmv(torch.ones(2), x, v)
torch.addmv(torch.ones(3), x, v.double())
torch.addmv(torch.ones(3).double(), x, v)
torch.addmv(torch.ones(1), x, v)
torch.addmv(torch.tensor(1.0), x, v)
torch.baddbmm(torch.ones(5), y, z)
torch.baddbmm(torch.ones(2, 3, 5), y, z, alpha=2, beta=0.1)
torch.baddbmm(torch.ones(6), y, z)
torch.baddbmm(torch.ones(5), y, y)
torch.baddbmm(torch.ones(5).double(), y, z)
torch.baddbmm(torch.ones(5), x, z)
torch.addbmm(torch.ones(5), y, z)
torch.addbmm(x[:, :1], y, z, alpha=2, beta=3)
torch.addbmm(torch.ones(5), y, y)
torch.addbmm(torch.ones(5), y, torch.ones(3, 4, 5))
i.addmm_(i, i.t())
torch.outer(v, w[:, 0])
torch.ger(v, v)
torch.outer(v, x)
torch.outer(v, torch.arange(2))
torch.inner(v, v)
torch.inner(x, v)
torch.inner(x, y)
torch.inner(x, p)
torch.inner(s, x)
torch.inner(v, v[:3])
torch.inner(x, y[0, :, :3])
torch.inner(x, d)
torch.vdot(v, v)
torch.trace(x)
sq.trace()
i.trace()
b.trace()
torch.trace(v)
torch.cross(x, p)
torch.cross(sq, p[:, :3])
torch.cross(torch.ones(4, 4), torch.ones(4, 4))
torch.cross(x, x, dim=1)
torch.linalg.cross(x, x)
torch.linalg.cross(sq, sq[0:1])
torch.cross(x, v)
torch.cross(x, d)
torch.kron(x, v)
torch.kron(sq, i)
torch.kron(s, x)
torch.cdist(x, torch.ones(2, 3))
torch.cdist(x, v)
torch.cdist(x, d)
torch.cdist(x, x, p=-1)
torch.cdist(i, i)
torch.matrix_power(x, 2)
torch.matrix_power(sq, 3)
sq.matrix_power(5)
torch.matrix_power(sq, 1)
torch.matrix_power(sq, -1)
torch.matrix_power(sq, -2)
torch.matrix_power(v, 2)
torch.matrix_power(sq, 2.0)
torch.linalg.inv(sq)
torch.linalg.inv(x)
torch.linalg.multi_dot([x])
torch.mm(p, p.t(), out=torch.ones(3, 3))
torch.mm(p, p.t(), out=torch.ones(3, 3).double())
torch.mm(torch.ones(0, 4), torch.ones(4, 3))
torch.mm(torch.ones(3, 0), torch.ones(0, 2))
torch.ones(2, 0, 3) @ torch.ones(3, 2)
torch.linalg.vecdot(x, v)
torch.addr(p, v[:3], v)
torch.addr(torch.ones(2), v[:3], v)
torch.addr(x, v[:3], v, alpha=2, beta=0.5)
"""
CONTRACTIONS = """
torch.tensordot(x, w, 1)
torch.tensordot(x, x, 1)
torch.tensordot(x, p, ([0], [0]))
torch.tensordot(x, p, ([0], [1]))
torch.tensordot(x, p, 2)
torch.tensordot(x, p, ([0, 1], [0, 1]))
torch.tensordot(x, x, 3)
torch.tensordot(x, x, -1)
torch.tensordot(x, p, 0)
torch.tensordot(x, d, 2)
torch.tensordot(x, x, ([0], [0, 1]))
torch.tensordot(y, z, ([0, 2], [0, 1]))
torch.tensordot(y, z, dims=[[0, 2], [0, 1]])
torch.einsum("ij,jk", x, w)
torch.einsum("ij,jk->ik", x, w)
torch.einsum("ij,jk", x, x)
torch.einsum("ij,jk", x)
torch.einsum("ij", x, x)
torch.einsum("ijk", x)
torch.einsum("ij->k", x)
torch.einsum("ij->ii", x)
torch.einsum("ij->i1", x)
torch.einsum("i..j", x)
torch.einsum("i...->...", x)
torch.einsum("...,...", x, p)
torch.einsum("ij,ij", x, d)
torch.einsum("ij->", x)
torch.einsum("ji", x)
torch.einsum("ij->ji", x)
torch.einsum("ii", sq)
torch.einsum("ii->i", sq)
torch.einsum("ii", x)
torch.einsum(x, [0, 1], x, [0, 2], [1, 2])
torch.einsum(x, [0, 1])
torch.einsum(x, [0, Ellipsis], [Ellipsis])
torch.einsum("ij,ij", [x, p])
torch.einsum("")
torch.einsum("bij, bjk -> bik", y, z)
torch.einsum("...ij,...jk", y, w)
torch.einsum("...ij,...jk->...ik", y, z)
torch.einsum("bn,anm,bm->ba", torch.ones(2, 4), z.permute(0, 1, 2), torch.ones(2, 5))
torch.einsum(",i", s, v)
torch.einsum("i->ij", v)
torch.einsum("Ab,bC->AC", x, w)
torch.einsum("ba,ab", x, p.t())
torch.einsum("ij,j", i, v[:3])
torch.einsum("ij,j", i, i[0])
torch.einsum("i...,i...->...", x, v[:3])
torch.einsum("i,i,i", v, v, v)
torch.einsum("i,j->ij", v, v)
torch.einsum("ij,ij->i", x, p)
torch.einsum("bij,bkj->bik", y, y)
torch.einsum("bhqd,bhkd->bhqk", y[:, None], y[:, None])
torch.einsum("ij,j->i", x, v)
torch.einsum("bij,kj->bik", y, x)
torch.einsum("i,ij,j", v[:3], x, v)
torch.einsum("iij->ij", torch.ones(2, 2, 3) * y.sum())
torch.einsum("ab,cd->abcd", x, p)
torch.einsum("...a->...", y)
torch.einsum("abc,c", y, v)
"""
# What PyTorch cannot differentiate twice.
ONCE = """
torch.cdist(x, p)
torch.cdist(x, p, p=1)
torch.cdist(x, p, p=3)
torch.cdist(x, p, p=inf)
torch.cdist(x, x)
torch.cdist(y, x)
"""
TWICE = PRODUCTS + CONTRACTIONS


@pytest.mark.parametrize("line", lines_of(TWICE))
def test_agrees_with_torch(line: str, oracle: types.ModuleType) -> None:
    check(load("lazyt"), oracle, line, twice=True)


@pytest.mark.parametrize("line", lines_of(ONCE))
def test_agrees_with_torch_up_to_gradients(line: str, oracle: types.ModuleType) -> None:
    check(load("lazyt"), oracle, line, twice=False)


def test_in_place_sums_with_a_product() -> None:
    torch = load("lazyt")
    x = torch.ones(2, 2)
    assert x.addmm_(torch.eye(2), torch.full((2, 2), 2.0), beta=0.5, alpha=2) is x
    assert x.tolist() == [[4.5, 4.5], [4.5, 4.5]]
    assert torch.ones(2).addmv_(torch.eye(2), torch.ones(2)).tolist() == [2.0, 2.0]
    assert torch.zeros(1, 2, 2).baddbmm_(torch.ones(1, 2, 3), torch.ones(1, 3, 2)).sum() == 12
    assert torch.zeros(2, 2).addbmm_(torch.ones(5, 2, 3), torch.ones(5, 3, 2)).sum() == 60
    assert torch.zeros(2, 2).addr_(torch.ones(2), torch.ones(2)).sum() == 4
    with pytest.raises(RuntimeError, match="Bad in-place call: input tensor size"):
        torch.ones(2, 3).addmm_(torch.ones(2, 2), torch.ones(2, 2))


def test_a_beta_of_zero_ignores_the_input() -> None:
    torch = load("lazyt")
    spoiled = torch.full((2, 2), float("nan"))
    assert torch.addmm(spoiled, torch.eye(2), torch.eye(2), beta=0).tolist() == [[1, 0], [0, 1]]


def test_matmul_in_place_makes_a_new_tensor() -> None:
    torch = load("lazyt")
    x = y = torch.eye(2)
    x @= torch.full((2, 2), 3.0)
    assert y.tolist() == [[1, 0], [0, 1]] and x.sum() == 12


def test_half_types_multiply_in_float32() -> None:
    torch = load("lazyt")
    x = torch.full((1, 4096), 1.0, dtype=torch.bfloat16)
    assert (x @ x.t()).item() == 4096


def test_a_product_saves_an_operand_only_for_the_other() -> None:
    torch = load("lazyt")
    w, x = torch.ones(2, 2, requires_grad=True), torch.ones(2, 2)
    loss = (x @ w).sum()
    with torch.no_grad():
        w.add_(1)
    loss.backward()
    assert w.grad.tolist() == [[2, 2], [2, 2]]
    x = torch.ones(2, 2, requires_grad=True)
    loss = (x @ w).sum()
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_einsum_of_one_operand_is_a_view() -> None:
    torch = load("lazyt")
    x = torch.zeros(2, 3)
    torch.einsum("ij->ji", x)[0, 1] = 5
    assert x[1, 0] == 5


def test_the_inverse_of_a_singular_matrix() -> None:
    torch = load("lazyt")
    with pytest.raises(torch.linalg.LinAlgError, match="The diagonal element 1 is zero"):
        torch.linalg.inv(torch.zeros(2, 2)).tolist()


def test_a_planned_product_without_columns() -> None:
    """The second run is a plan, which hands the product a buffer."""
    torch = load("lazyt")

    def product() -> Any:
        a, b = torch.ones(1, 2, 2) * 1.5, torch.ones(2, 0) * 1.5
        return (a @ b).add(torch.ones(1) * 3)

    for _ in range(3):
        assert product().tolist() == [[[], []]]
