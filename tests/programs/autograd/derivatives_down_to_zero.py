import torch
import torch.nn.functional as F
def tell(f, cut=None):
    try:
        print(f())
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])

def all_of(f, at=2.):
    x = torch.tensor(at, requires_grad=True)
    y, found = f(x), []
    for _ in range(5):
        y, = torch.autograd.grad(y, x, create_graph=True, allow_unused=True)
        found.append(None if y is None else round(y.item(), 4))
        if y is None or not y.requires_grad:
            break
    return found
print(all_of(lambda x: x ** 2), all_of(lambda x: x ** 3), all_of(torch.square), all_of(lambda x: x * x))
print(all_of(torch.relu), all_of(lambda x: F.leaky_relu(x, 0.1), -1.), all_of(F.hardtanh, 0.5), all_of(F.relu6), all_of(lambda x: F.relu(x) ** 2))
print(all_of(lambda x: x.sort(0)[0] ** 2), all_of(lambda x: torch.div(x, 3, rounding_mode="floor")), all_of(lambda x: torch.div(x, 3, rounding_mode="trunc") * x))
print(all_of(lambda x: x.frac()), all_of(lambda x: x.sign() * x), all_of(lambda x: (x ** 2).clamp(0, 9)), all_of(lambda x: torch.lerp(x, x ** 2, 0.75)))
x = torch.tensor([5., -7.], requires_grad=True)
q = x // 2
print(q.requires_grad, type(q.grad_fn).__name__, q.detach())
tell(lambda: q.sum().backward())
torch.div(x, 2, rounding_mode="floor").sum().backward()
print(x.grad)
net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LeakyReLU(0.2), torch.nn.Linear(2, 1))
with torch.no_grad():
    for p in net.parameters():
        p.copy_(torch.arange(1., p.numel() + 1).view_as(p) - 2.5)
x = torch.tensor([[1., 2.], [-3., 0.5]], requires_grad=True)
g, = torch.autograd.grad(net(x).sum(), x, create_graph=True)
(g.norm(dim=1) - 1).pow(2).mean().backward()
print([p.grad for p in net.parameters()], x.grad)
leaf = torch.arange(8.)[2:].view(2, 3).requires_grad_()
leaf.as_strided((2, 2), (1, 2), 3).pow(2).sum().backward()
print(leaf.as_strided((2, 2), (1, 2)).detach(), leaf.grad)
