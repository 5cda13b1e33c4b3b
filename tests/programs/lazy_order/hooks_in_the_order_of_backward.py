import torch
class Note(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, name):
        ctx.name = name
        return x * 1
    @staticmethod
    def backward(ctx, g):
        print(ctx.name, g.tolist())
        return g, None
x = torch.ones(2, requires_grad=True)
a, b, c = (Note.apply(x, n) for n in "abc")
(a + b + c).sum().backward()
torch.stack([Note.apply(x * i, i) for i in range(3)]).sum().backward()
h = x
for i in range(3):
    h = Note.apply(h, i) + Note.apply(x, 10 + i)
h.sum().backward()
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1))
for n, p in net.named_parameters():
    p.register_hook(lambda g, n=n: print(n, tuple(g.shape)))
net(torch.ones(4, 2)).sum().backward()
y = torch.ones(2, requires_grad=True)
x.register_hook(lambda g: print("x", g))
y.register_hook(lambda g: print("y", g))
u, v = x * 2, y * 3
u.register_hook(lambda g: print("u", g))
v.register_hook(lambda g: print("v", g))
(u * v + x).sum().backward()
torch.autograd.backward([(x * 2).sum(), (y * 2).sum()])
