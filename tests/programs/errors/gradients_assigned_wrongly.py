import torch
def tell(f, cut=None):
    try:
        f()
        print("no error")
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])

x = torch.ones(3, requires_grad=True)
tell(lambda: setattr(x, "grad", torch.ones(3).long()), 90)
tell(lambda: setattr(x, "grad", torch.ones(3, dtype=torch.int16)), 90)
tell(lambda: setattr(x, "data", torch.ones(2).long()))
tell(lambda: setattr(x, "requires_grad", "a"))
tell(lambda: x.requires_grad_("a"))
tell(lambda: torch.set_grad_enabled("a"))
tell(lambda: torch.autograd.grad(x.sum(), []))
class Words(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 1
    @staticmethod
    def backward(ctx, g): return "a"
tell(lambda: Words.apply(x).sum().backward())
print(x, x.grad, torch.is_grad_enabled())
