"""Functions of functions: torch.func, autograd.functional, checkpoint, custom Functions, hooks.

x5 = torch.func.grad(lambda x: (x.sin() * x).sum())(x1)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import Statement
from .examples import Shape
from .model import INEXACT, Track
from .training import Training


@dataclass(frozen=True)
class Transform:
    """A transformed function of a tensor {x}: what it gives has {x}'s shape, or its shape twice."""

    text: str
    shape: str = "same"  # same, scalar, twice (a Jacobian), rows (reduced over the last dimension)
    differentiable: bool = True
    dims: tuple[int, ...] = (0, 1, 2, 3)


SCALAR_FUNCTIONS = [
    "lambda x: (x * x.sin()).sum()",
    "lambda x: x.tanh().pow(2).mean()",
    "lambda x: torch.logsumexp(x.flatten(), 0)",
    "lambda x: F.softplus(x).sum() + x.prod()",
    "lambda x: (x.exp() / (x * x + 1)).sum()",
]
FUNCTIONS = [
    "lambda x: x.sin() * 2",
    "lambda x: torch.sigmoid(x) * x",
    "lambda x: x * x.sum()",
    "lambda x: torch.softmax(x.reshape(-1), 0).view_as(x)",
    "lambda x: torch.where(x > 0.3, x * x, -x)",
    "lambda x: x.cumsum(0).tanh() if x.dim() else x.exp()",
    "lambda x: (x.unsqueeze(0) * x.new_ones(2, *x.shape)).mean(0)",
]
TRANSFORMS = [
    Transform("torch.func.grad({s})({x})"),
    Transform("torch.func.grad_and_value({s})({x})[0]"),
    Transform("torch.func.grad_and_value({s})({x})[1]", "scalar"),
    Transform("torch.func.grad(lambda x: torch.func.grad({s})(x).sum())({x})"),
    Transform("torch.func.vjp({f}, {x})[1]({x})[0]"),
    Transform("torch.func.jvp({f}, ({x}.detach(),), (torch.ones_like({x}),))[1]"),
    Transform("torch.func.jvp({f}, ({x}.detach(),), ({x}.detach(),))[0]"),
    Transform("torch.func.jacrev({f})({x}).clone()", "twice", dims=(0, 1, 2)),
    Transform("torch.func.jacfwd({f})({x}.detach()).clone()", "twice", dims=(0, 1, 2)),
    Transform("torch.func.hessian({s})({x}.detach()).clone()", "twice", dims=(0, 1, 2)),
    Transform("torch.func.vmap({f})({x})", dims=(1, 2, 3)),
    Transform("torch.vmap({f}, in_dims=-1, out_dims=-1)({x})", dims=(1, 2, 3)),
    Transform("torch.vmap(lambda x, y: x * y.sum(), (0, None))({x}, {x})", dims=(1, 2, 3)),
    Transform("torch.vmap(torch.func.grad({s}))({x})", dims=(1, 2, 3)),
    Transform("torch.vmap(lambda r: torch.dot(r, r) * 1)({x})", "rows", dims=(2,)),
    Transform("torch.vmap({f}, chunk_size=1)({x})", dims=(1, 2, 3)),
    Transform("torch.autograd.functional.jacobian({f}, {x})", "twice", False, (0, 1, 2)),
    Transform("torch.autograd.functional.hessian({s}, {x})", "twice", False, (0, 1, 2)),
    Transform("torch.autograd.functional.vjp({f}, {x}, {x})[1]", "same", False),
    Transform("torch.autograd.functional.jvp({f}, {x}, {x})[1]", "same", False),
    Transform("torch.autograd.functional.hvp({s}, {x}, {x})[1]", "same", False),
    Transform("torch.autograd.functional.vhp({s}, {x}, {x})[1]", "same", False),
    Transform("torch.utils.checkpoint.checkpoint({f}, {x}, use_reentrant=False)"),
    Transform("torch.utils.checkpoint.checkpoint({f}, {x}, use_reentrant=True).clone()"),
]
# Functions of a user's; programs define them before they use one.
CUSTOM = {
    "Cube": """class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3
    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x""",
    "Straight": """class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()
    @staticmethod
    def backward(ctx, g):
        return g""",
    "Scaled": """class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        y = (x * scale).exp()
        ctx.save_for_backward(y)
        return y
    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * y * ctx.scale, None""",
    "Doubled": """class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x * 2
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.mark_non_differentiable()
    @staticmethod
    def backward(ctx, g):
        return g * 2""",
}
CALLS = {
    "Cube": "Cube.apply({x})",
    "Straight": "Straight.apply({x})",
    "Scaled": "Scaled.apply({x}, 0.5)",
    "Doubled": "Doubled.apply({x})",
}
TENSOR_HOOKS = [
    "{x}.register_hook(lambda g: g * 0.5)",
    "{x}.register_hook(lambda g: out.append(g.sum().item()))",
    "{x}.retain_grad()",
    "{x}.register_post_accumulate_grad_hook(lambda t: setattr(t, 'grad', None))",
    "handle = {x}.register_hook(lambda g: g + 1)\nhandle.remove()",
]
REGIONS = [
    "with torch.inference_mode():",
    "with torch.no_grad():",
    "with torch.enable_grad():",
    "with torch.set_grad_enabled(False):",
]
QUERIES = [
    "{x}.requires_grad",
    "{x}.is_leaf",
    "{x}.grad_fn is None",
    "torch.is_grad_enabled()",
    "{x}.grad_fn and {x}.grad_fn.name()",
    "{x}.output_nr",
    "torch.is_tensor({x})",
    "{x}.element_size()",
    "{x}.dim()",
    "{x}.is_contiguous()",
    "torch.numel({x})",
    "{x}.size()",
    "torch.is_floating_point({x})",
]


class Transforms(Training):
    """Adds functions of functions."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.custom: set[str] = set()

    def statements(self) -> list[Statement]:
        return [
            *super().statements(),
            ("transforms", 12, self.transform),
            ("transforms", 4, self.call_custom),
            ("transforms", 2, self.hook),
            ("transforms", 2, self.region),
            ("transforms", 3, self.query),
        ]

    def transform(self) -> None:
        """`name = transform(function)(tensor)`, of a tensor with small values."""
        row = self.pick(TRANSFORMS)
        v = self.some(lambda v: v.is_float and v.store.top <= 2 and not v.guarded)
        if v is None or self.fixed or v.array.ndim not in row.dims or not v.array.size:
            return
        if not self.recording and "checkpoint" in row.text:
            return
        function = self.pick(FUNCTIONS)
        if "vmap" in row.text and "where" not in function and not v.array.ndim:
            return
        if "where" in function and not v.exact:
            return
        # A clone: what a second derivative saved of a tensor whose `.data` is then written to
        # depends on the formula of the first.
        x = f"{v.text}.clone()" if v.needs or v.overlaps or v.crosses else v.text
        text = row.text.format(x=x, f=function, s=self.pick(SCALAR_FUNCTIONS))
        shapes: dict[str, Shape] = {
            "same": v.shape,
            "scalar": (),
            "twice": v.shape * 2,
            "rows": v.shape[:-1],
        }
        shape = shapes[row.shape]
        if int(np.prod(shape)) > 100:
            return
        made = self.result(text, shape, v.dtype, 5, INEXACT, (v,), (v,), True)
        made.loose = len(shape) > 1
        if not row.differentiable:
            made.track = Track()
        made.track.inner = True
        self.bind(made)

    def call_custom(self) -> None:
        """A user's autograd.Function."""
        v = self.operand(lambda v: v.is_float and v.store.top <= 2)
        kind = self.pick(list(CUSTOM))
        if self.fixed or not v.is_float or v.store.top > 2 or (kind == "Straight" and not v.exact):
            return
        if kind == "Scaled" and not v.needs:
            return
        if kind not in self.custom:
            self.custom.add(kind)
            self.emit(CUSTOM[kind])
        top = {"Cube": 6, "Straight": 3, "Scaled": 3, "Doubled": 3}[kind]
        text = CALLS[kind].format(x=v.text)
        self.bind(self.result(text, v.shape, v.dtype, top, INEXACT, (v,), (v,), True))

    def hook(self) -> None:
        v = self.some(lambda v: v.needs and not v.is_view and not v.track.counter.value)
        if v is None or self.fixed:
            return
        text = self.pick(TENSOR_HOOKS)
        if "accumulate" in text and not v.track.leaf:
            return
        self.emit(text.format(x=v.text))

    def region(self) -> None:
        """A computation and a read in another grad mode."""
        v = self.operand()
        made = self.compute(v) if not self.fixed else None
        if made is None:
            return
        self.emit(
            f"{self.pick(REGIONS)}\n    y = {made.text}\n    out.append([y, y.requires_grad])"
        )
        self.emit("del y")

    def query(self) -> None:
        v = self.some()
        if v is not None and not v.track.inner:
            self.emit(f"out.append({self.pick(QUERIES).format(x=v.text)})")
