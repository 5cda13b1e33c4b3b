import torch
from torch.autograd.function import Function, once_differentiable
def tell(f, cut=None):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])

class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y
    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y
x = torch.tensor([0.5, 1.], requires_grad=True)
g = Exp.apply(x).sum()
for _ in range(3):
    g, = torch.autograd.grad(g, x, create_graph=True)
    print(g.detach(), g.requires_grad)
    g = g.sum()
y = Exp.apply(x)
y.sum().backward()
tell(lambda: y.grad_fn.saved_tensors, 50)
y = Exp.apply(x)
y.mul_(2)
tell(lambda: y.sum().backward(), 160)

class Triple(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x
    @staticmethod
    def backward(ctx, g):
        return g * 3
b = x * 2
before = b._version
c = Triple.apply(b)
print(c is b, c, c.grad_fn.name(), b._version - before)
x.grad = None
(c * c).sum().backward()
print(x.grad)
tell(lambda: Triple.apply(x))
d = torch.ones(2)
print(Triple.apply(d) is d, d, d._version)

class Many(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, 7, None, x + 1
    @staticmethod
    def backward(ctx, a, number, nothing, b):
        print(a, number, nothing, b)
        return a * 2 + b
p, q, r, s = Many.apply(x)
print(p, q, r, s)
s.sum().backward()

class Same(Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)
    @staticmethod
    def backward(ctx, g):
        return -g
h = x * 1
w = Same.apply(h)
print(w, w._is_view())
tell(lambda: w.add_(1), 60)
w.sum().backward()
print(x.grad)

class Once(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]
g, = torch.autograd.grad((Once.apply(x) ** 2).sum(), x, create_graph=True)
print(g.requires_grad)
tell(lambda: g.sum().backward())

class Wrong(Function):
    @staticmethod
    def forward(ctx, x, k, what):
        if what == "save":
            ctx.save_for_backward(x, k)
        if what == "dirty":
            ctx.mark_dirty(x)
        ctx.what = what
        return x * k
    @staticmethod
    def backward(ctx, g):
        return (3.0, None, None) if ctx.what == "float" else (g, g, None)
for what in ("save", "dirty", "float", "number"):
    tell(lambda: Wrong.apply(x * 1, 2, what).sum().backward())
