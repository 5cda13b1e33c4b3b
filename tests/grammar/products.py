"""Products, linear algebra and functions of indices, as rows with their shapes."""

from __future__ import annotations

from .base import Statement
from .examples import Example, Examples

ROW_MAJOR = ".clone(memory_format=torch.contiguous_format)"
PRODUCTS = [
    Example("torch.dot({x}, {y})", [(4,), (4,)], ()),
    Example("{x}.mv({y})", [(2, 4), (4,)], (2,)),
    Example("torch.mv({x}, {y})", [(3, 4), (4,)], (3,)),
    Example("torch.mm({x}, {y})", [(2, 4), (4, 3)], (2, 3)),
    Example("{x}.mm({y}.t())", [(2, 4), (3, 4)], (2, 3)),
    Example("torch.bmm({x}, {y})", [(2, 3, 4), (2, 4, 3)], (2, 3, 3)),
    Example("{x}.bmm({y}.transpose(1, 2))", [(2, 3, 4), (2, 3, 4)], (2, 3, 3)),
    Example("torch.matmul({x}, {y})", [(2, 3, 4), (4, 3)], (2, 3, 3)),
    Example("torch.matmul({x}, {y})", [(4,), (2, 4, 3)], (2, 3)),
    Example("{x} @ {y}", [(2, 3, 4), (4,)], (2, 3)),
    Example("torch.addmm({x}, {y}, {z})", [(3,), (2, 4), (4, 3)], (2, 3)),
    Example("torch.addmm({x}, {y}, {z}, beta=0.5, alpha=2)", [(2, 3), (2, 4), (4, 3)], (2, 3)),
    Example("{x}.addmv({y}, {z})", [(3,), (3, 4), (4,)], (3,)),
    Example(
        "torch.baddbmm({x}, {y}, {z}, alpha=0.5)", [(2, 3, 3), (2, 3, 4), (2, 4, 3)], (2, 3, 3)
    ),
    Example("torch.addbmm({x}, {y}, {z})", [(3, 3), (2, 3, 4), (2, 4, 3)], (3, 3)),
    Example("torch.addr({x}, {y}, {z})", [(4, 3), (4,), (3,)], (4, 3)),
    Example("torch.outer({x}, {y})", [(4,), (3,)], (4, 3)),
    Example("{x}.ger({y})", [(3,), (4,)], (3, 4)),
    Example("torch.kron({x}.contiguous(), {y}.contiguous())", [(2, 2), (2, 3)], (4, 6)),
    Example("torch.inner({x}, {y})", [(2, 4), (3, 4)], (2, 3)),
    Example("torch.tensordot({x}, {y}, dims=1)", [(2, 4), (4, 3)], (2, 3)),
    Example("torch.tensordot({x}, {y}, dims=([1, 0], [0, 1]))", [(2, 4), (4, 2)], ()),
    Example("torch.einsum('ij,jk->ik', {x}, {y})", [(2, 4), (4, 3)], (2, 3)),
    Example("torch.einsum('bij,bkj->bik', {x}, {y})", [(2, 3, 4), (2, 3, 4)], (2, 3, 3)),
    Example("torch.einsum('ij->ji', {x})", [(2, 4)], (4, 2)),
    Example("torch.einsum('ii->i', {x}) * 1", [(3, 3)], (3,)),
    Example("torch.einsum('i,j->ij', {x}, {y})", [(4,), (3,)], (4, 3)),
    Example("torch.einsum('bij->b', {x})", [(2, 3, 4)], (2,)),
    Example("torch.einsum('...ij,jk->...ik', {x}, {y})", [(2, 3, 4), (4, 3)], (2, 3, 3)),
    Example("torch.cdist({x}, {y} + 4)", [(2, 4), (3, 4)], (2, 3)),
    Example("torch.cdist({x}, {y} + 4, p=1)", [(2, 4), (3, 4)], (2, 3)),
    Example("torch.cross({x}, {y}, dim=-1)", [(2, 3), (2, 3)], (2, 3)),
    Example("torch.trace({x})", [(3, 3)], ()),
    Example("torch.linalg.norm({x} + 0.125)", [(2, 4)], ()),
    Example("torch.linalg.matrix_norm({x} + 0.125)", [(2, 4)], ()),
    # PyTorch's inverses lie by columns.
    Example("torch.linalg.inv({x} @ {x}.t() + torch.eye(3).to({x}))" + ROW_MAJOR, [(3, 3)], (3, 3)),
    Example("torch.inverse({x} * 0.125 + torch.eye(3).to({x}))" + ROW_MAJOR, [(3, 3)], (3, 3)),
]
INDEXED = [
    Example("torch.matrix_power({x} * 0.5, 3)", [(3, 3)], (3, 3)),
    Example("torch.gather({x}, 1, torch.tensor([[0, 3, 1], [2, 2, 0]]))", [(2, 4)], (2, 3)),
    Example("{x}.gather(0, torch.tensor([[1, 0, 1, 1]]))", [(2, 4)], (1, 4)),
    Example("torch.take_along_dim({x}, torch.tensor([[0], [3]]), dim=1)", [(2, 4)], (2, 1)),
    Example("{x}.scatter(1, torch.tensor([[0, 3], [2, 1]]), {y})", [(2, 4), (2, 2)], (2, 4)),
    Example("torch.scatter({x}, 1, torch.tensor([[0, 3], [2, 1]]), 1.5)", [(2, 4)], (2, 4)),
    Example(
        "{x}.scatter_add(1, torch.tensor([[0, 3, 0], [2, 1, 1]]), {y})", [(2, 4), (2, 3)], (2, 4)
    ),
    Example(
        "{x}.scatter_reduce(1, torch.tensor([[0, 3, 0], [2, 1, 1]]), {y}, 'sum')",
        [(2, 4), (2, 3)],
        (2, 4),
    ),
    Example("{x}.index_add(0, torch.tensor([1, 1, 0]), {y})", [(2, 4), (3, 4)], (2, 4)),
    Example(
        "torch.index_add({x}, 0, torch.tensor([2, 0]), {y}, alpha=2)", [(3, 4), (2, 4)], (3, 4)
    ),
    Example("{x}.index_copy(0, torch.tensor([2, 0]), {y})", [(3, 4), (2, 4)], (3, 4)),
    Example(
        "{x}.index_put((torch.tensor([0, 1]), torch.tensor([3, 0])), {y}[0])",
        [(2, 4), (2,)],
        (2, 4),
    ),
    Example("{x}.index_put((torch.tensor([0, 0]),), {y}, accumulate=True)", [(2, 4), (4,)], (2, 4)),
    Example("{x}.index_fill(1, torch.tensor([0, 2]), 0.5)", [(2, 4)], (2, 4)),
    Example(
        "{x}.masked_scatter(torch.tensor([True, False, True, True]), {y})", [(4,), (2, 3)], (4,)
    ),
    Example("torch.index_select({x}, 1, torch.tensor([0, 0, 3]))", [(2, 4)], (2, 3)),
    Example("{x}.select_scatter({y}, 0, 1)", [(2, 4), (4,)], (2, 4)),
    Example("torch.where({x} > 0.3, {x}, {y})", [(2, 4), (4,)], (2, 4)),
]


class Products(Examples):
    """Adds products and functions of indices."""

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("products", 8, lambda: self.call_example(PRODUCTS)),
            ("products", 8, lambda: self.call_example(INDEXED)),
        ]
