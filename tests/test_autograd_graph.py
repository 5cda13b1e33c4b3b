"""torch.autograd.graph and anomaly detection against PyTorch."""

from __future__ import annotations

import types

import pytest
from harness import run_program

import lazyt

PREPARATION = """
import torch, warnings
from torch.autograd.graph import *
x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
w = torch.tensor([2.0, 0.5, 1.0], requires_grad=True)
log = []
def pack(t):
    log.append(("pack", tuple(t.shape)))
    return t.tolist(), t.dtype
def unpack(packed):
    log.append("unpack")
    return torch.tensor(packed[0], dtype=packed[1])
def shown(f):
    try:
        print(f())
    except Exception as error:
        print(type(error).__name__, str(error))
def watched(f, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with torch.autograd.detect_anomaly(**options):
                f()
        except RuntimeError as error:
            print(error)
    print([str(c.message).split("Traceback")[0] for c in caught])
"""

PROGRAMS = {
    "what is saved is packed and unpacked": """
with saved_tensors_hooks(pack, unpack):
    y = (x * w).exp().sum()
print(sorted(map(str, log)))
log.clear()
(y * 2).backward()
print(log, [round(v, 3) for v in [*x.grad.tolist(), *w.grad.tolist()]])
""",
    "a backward uses what was unpacked": """
with saved_tensors_hooks(lambda t: t, lambda t: t * 4):
    y = x * x
y.sum().backward()
print(x.grad.tolist())
""",
    "hooks of a leaf whose memory NumPy shares run once": """
x.register_hook(lambda g: print("hook", g.tolist()))
x.register_post_accumulate_grad_hook(lambda t: print("accumulated", t.grad.tolist()))
shared = x.detach().numpy()
(x * x).sum().backward()
y = x * w
shared[0] = 5
(y + x).sum().backward()
print([g.tolist() for g in torch.autograd.grad((x * x).sum(), [x])])
""",
    "gradients are accumulated as they are found": """
y = w * 2
y.register_hook(lambda g: print("y", None if x.grad is None else x.grad.tolist(), w.grad))
x.register_post_accumulate_grad_hook(lambda t: print("x", t.grad.tolist()))
(y * y + x * 3).sum().backward()
print(w.grad.tolist())
""",
    "an error leaves what was found before, and what was freed": """
def refuse(g):
    raise ValueError("no")
y = w.exp()
handle = y.register_hook(refuse)
z = x * x
total = (y + z).sum()
shown(total.backward)
print(x.grad.tolist(), w.grad)
handle.remove()
shown(total.backward)
""",
    "of two branches the one made last comes first": """
a, b, c = x * 2, x.exp(), w * 3
for name, t in (("a", a), ("b", b), ("c", c)):
    t.register_hook(lambda g, name=name: print(name))
(c * a + b).sum().backward()
d, e = w.sin(), (w * 2).exp()
d.register_hook(lambda g: print("d")), e.register_hook(lambda g: print("e"))
torch.stack([e, d, e]).sum().backward()
class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t):
        return t * 2
    @staticmethod
    def backward(ctx, g):
        print("doubled")
        return g * 2
f, h = Doubled.apply(x), x.cos()
h.register_hook(lambda g: print("h"))
(f * h).sum().backward()
f, h = x.cos(), Doubled.apply(x)
f.register_hook(lambda g: print("f"))
(h * f).sum().backward()
""",
    "who made a view is told, and whether that was without gradients": """
number = torch.tensor(2.0, requires_grad=True)
steps = {"split": lambda v: v.split(1)[1], "unbind": lambda v: v.unbind()[1], "row": lambda v: v[0]}
writes = (lambda v: v.mul_(number), lambda v: v.__setitem__(0, number), torch.Tensor.relu_)
for made in "split", "unbind", "row", "split row", "row split", "!split", "split !row":
    for tracked in (False, True):
        for write in writes:
            v = torch.ones(2, 2, 2, requires_grad=tracked) * 1
            with torch.no_grad():
                v = v.view(2, 2, 2)
            for step in made.split():
                with torch.set_grad_enabled(step[0] != "!"):
                    v = steps[step.strip("!")](v)
            shown(lambda: write(v).sum().item() if v.dim() else None)
""",
    "names of what was called": """
def name(y):
    return y.grad_fn and y.grad_fn.name()
t, rows = torch.ones(2, 3, 4, requires_grad=True), torch.tensor([[0, 2], [1, 0]])
print([name(f(t)) for f in (
    lambda t: t.transpose(0, 1).reshape(3, 2, 2, 2), lambda t: t[:, :2].reshape(2, 2, 4),
    lambda t: t[:1].reshape(12), lambda t: t[:1].expand(5, 3, 4).reshape(5, 12),
    lambda t: t.transpose(0, 1).flatten(1), lambda t: t[:, :1].ravel(),
    lambda t: t[0].scatter(1, rows, 1.5), lambda t: t[0].scatter(1, rows, t[0, :2, :2]),
    lambda t: (t * 1).fill_(torch.tensor(2.0)), lambda t: (t * 1).fill_(2.0),
    lambda t: t.rot90(1, [0, 2]), lambda t: t.rot90(4, [0, 2]),
)])
for f in (torch.unique, torch.unique_consecutive, lambda t: t.unique(dim=1)):
    y = f(t)
    print(name(y), y.requires_grad, y.shape)
    shown(y.sum().backward)
turned = t.transpose(0, 2)
print([f.rot90(k, [0, 2]).stride() for f in (t, turned) for k in (0, 1, 2, 3)])
""",
    "in-place views have names of their own": """
for f in (
    lambda t: t.transpose_(0, 1), lambda t: t.swapaxes_(0, 1), lambda t: t[0].t_(),
    lambda t: t.unsqueeze_(0), lambda t: t.squeeze_(), lambda t: t.squeeze_(1),
    lambda t: t.squeeze_((0, 1)), lambda t: t.unsqueeze_(0).squeeze_(0),
    lambda t: t.transpose_(0, 1).add_(1),
):
    whole = torch.ones(2, 1, 3, requires_grad=True)
    for t in (whole * 2, (whole * 2).view(2, 1, 3)):
        y = f(t)
        y.sum().backward()
        print(y.grad_fn.name(), y.shape, whole.grad.tolist())
""",
    "what is written into a copy lies like the original": """
t, first = torch.ones(2, 4).t(), torch.tensor([0])
print([y.stride() for y in (
    t.select_scatter(torch.ones(4), 1, 1), t.slice_scatter(torch.ones(4, 1), 1, 1),
    t.index_fill(0, first, 1.0), t.scatter(0, first[None], 1.0), t.masked_fill(t > 0, 1.0),
    t.index_add(0, first, torch.ones(1, 2)), t.masked_scatter(t > 0, torch.ones(8)),
)])
x = torch.rand(3, 4, requires_grad=True)
for f in (
    lambda t: t.rot90(1, (0, 1)), lambda t: t.t().index_fill(0, first, 2.0),
    lambda t: t.t().select_scatter(t[:, 0], 0, 1),
    lambda t: t.t().slice_scatter(t.t()[1:2], 0, 1, 2),
):
    (g,) = torch.autograd.grad((f(x) ** 3).sum(), x, create_graph=True)
    (g * g).sum().backward()
    print(bool((x.grad != 0).any()), torch.allclose(g, g.detach()))
""",
    "resizing and windows may run backwards again": """
F, image = torch.nn.functional, torch.rand(1, 3, 6, 6, requires_grad=True)
for f in (
    lambda t: F.unfold(t, 2), lambda t: F.fold(t.reshape(1, 12, 9), (4, 4), 2),
    lambda t: F.interpolate(t, scale_factor=2), lambda t: F.interpolate(t, size=9, mode="bicubic"),
    lambda t: F.avg_pool2d(t, 2), lambda t: t.square(),
):
    total = f(image).sum()
    total.backward()
    shown(total.backward)
""",
    "a view that shows another place by now is written to": """
y = (x * 2).view(3, 1)
y.transpose_(0, 1)
y += 1
print(y.tolist(), y.grad_fn.name())
y.sum().backward()
print(x.grad.tolist())
y = torch.zeros(3).view(3, 1)
y.t_()
y += x
print(y.grad_fn.name())
""",
    "what has no derivative is named as it was called": """
for f in (lambda t: t.floor_divide(2), lambda t: t.floor_divide_(2), lambda t: t.__ifloordiv__(2)):
    shown(f(x * 1).sum().backward)
""",
    "handles are those of torch.utils.hooks": """
y = x * w
handles = [x.register_hook(log.append), y.register_hook(log.append)]
handles += [y.grad_fn.register_hook(print), x.register_post_accumulate_grad_hook(print)]
print([isinstance(h, torch.utils.hooks.RemovableHandle) for h in handles])
for h in handles:
    h.remove()
y.sum().backward()
print(log, x.grad.tolist())
""",
    "only what is traced inside": """
y = x * w
with saved_tensors_hooks(lambda t: t, lambda t: t * 0):
    z = x * 2.0
(y + z).sum().backward()
print(x.grad.tolist())
""",
    "hooks in hooks": """
with saved_tensors_hooks(lambda t: t, lambda t: t * 10):
    with saved_tensors_hooks(lambda t: t, lambda t: t * 3):
        y = x * x
    z = x * x
(y.sum() + z.sum()).backward()
print(x.grad.tolist())
""",
    "second derivatives through unpacked values": """
with saved_tensors_hooks(lambda t: t, lambda t: t):
    y = (x**3).sum()
    g, = torch.autograd.grad(y, x, create_graph=True)
print(torch.autograd.grad(g.sum(), x)[0].tolist())
""",
    "on the processor": """
with save_on_cpu(pin_memory=True):
    y = (x.sin() * x).exp()
y.sum().backward()
print([round(v, 4) for v in x.grad.tolist()])
""",
    "unpacking gives no tensor": """
with saved_tensors_hooks(lambda t: t, lambda t: 3):
    y = x * x
shown(y.sum().backward)
""",
    "hooks are disabled": """
def use():
    with saved_tensors_hooks(pack, unpack):
        pass
with disable_saved_tensors_hooks("none here"):
    shown(use)
shown(use)
""",
    "several gradients": """
m, c = x * w, torch.ones(3, requires_grad=True)
for mode in ("all", "any"):
    got = []
    plain = lambda g: None if g is None else g.tolist()
    each = lambda g: plain(g) if isinstance(g, torch.Tensor) else [plain(v) for v in g]
    hook = register_multi_grad_hook([x, w, c, m], lambda g: got.append(each(g)), mode=mode)
    (m.sum() * 2).backward(retain_graph=True)
    (m + c).sum().backward(retain_graph=True)
    hook.remove()
    m.sum().backward(retain_graph=True)
    print(got)
shown(lambda: register_multi_grad_hook([x], print, mode="some"))
""",
    "edges and nodes": """
y = x * 2
print(get_gradient_edge(x).node.name(), get_gradient_edge(y).node is y.grad_fn)
print(get_gradient_edge(y).output_nr, isinstance(y.grad_fn, Node), isinstance(y, Node))
shown(lambda: get_gradient_edge(x.detach()))
edges = [get_gradient_edge(y), get_gradient_edge(x)]
z = (y * y).sum()
print([g.tolist() for g in torch.autograd.grad(z, edges, retain_graph=True)])
print(torch.autograd.grad(z, edges[0])[0].tolist())
""",
    "hooks of nodes": """
y = x * w
z = y.exp() + y * y
show = lambda *grads: print([[g.tolist() if g is not None else None for g in t] for t in grads])
first = (y * y).grad_fn
one = z.grad_fn.register_hook(lambda gi, go: show(gi, go))
two = y.grad_fn.register_hook(lambda gi, go: (gi[0] * 2, gi[1]))
three = y.grad_fn.register_prehook(lambda go: (go[0] * 10,))
z.sum().backward(retain_graph=True)
print([round(v, 2) for v in [*x.grad.tolist(), *w.grad.tolist()]])
for hook in (one, two, three):
    hook.remove()
x.grad = None
z.sum().backward()
print([round(v, 2) for v in x.grad.tolist()])
m = x[None] @ x[:, None]
m.grad_fn.register_hook(lambda gi, go: show(gi, go))
m.sum().backward()
""",
    "an anomaly in a product": """
a = torch.tensor([[1.0, float("nan")]])
watched(lambda: (a @ x[:2, None]).sum().backward())
""",
    "an anomaly": "watched(lambda: ((x - x).sqrt() * 0).sum().backward())",
    "an anomaly of a matrix": "watched(lambda: ((x[:, None] / 0 @ x[None]) * 0).sum().backward())",
    "an anomaly that is not looked for": """
watched(lambda: ((x - x).sqrt() * 0).sum().backward(), check_nan=False)
print(x.grad.isnan().all().item())
""",
    "no anomaly": "watched(lambda: (x * 2).sum().backward())",
    "an error in a backward": """
def overwritten():
    y = x.exp()
    y.mul_(2)
    y.sum().backward()
watched(overwritten)
""",
    "on and off": """
print(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
with torch.autograd.set_detect_anomaly(True):
    print(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
torch.autograd.set_detect_anomaly(True, check_nan=False)
print(torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
torch.autograd.set_detect_anomaly(False)
print(torch.is_anomaly_enabled())
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_gives_what_torch_gives(oracle: types.ModuleType, name: str) -> None:
    text = PREPARATION + PROGRAMS[name]
    assert run_program(text, name="lazyt") == run_program(text, name="torch")


def test_an_anomaly_names_the_line_of_the_forward() -> None:
    torch = lazyt
    x = torch.zeros(2, requires_grad=True)
    y = x.sqrt() * 0  # this line
    with (
        pytest.warns(UserWarning, match="y = x.sqrt\\(\\) \\* 0  # this line"),
        pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan"),
        torch.autograd.set_detect_anomaly(True),
    ):
        y.sum().backward()


def test_arithmetic_in_c_is_packed_too(c_tier: None) -> None:
    torch = lazyt
    x = torch.ones(3, requires_grad=True)
    (x * x + x).sum().item()  # the compiler is there from here on
    seen: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: seen.append(t.numel()) or t, lambda t: t * 4
    ):
        y = x * x
    y.sum().backward()
    assert seen == [3, 3]
    assert x.grad.tolist() == [8.0, 8.0, 8.0]
