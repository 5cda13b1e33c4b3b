import torch
w, g = torch.tensor([1., 2.]), torch.tensor([10., 20.])
w.add_(-0.1, g)
print(w, torch.add(w, 2, g), w.add(0.5, g), torch.sub(w, 2, g), w.sub_(0.5, g))
square = torch.zeros(2)
square.mul_(0.9).addcmul_(0.1, g, g)
print(square, w.addcdiv_(-0.5, g, square.sqrt().add_(1e-8)), torch.addcmul(w, 2, g, g))
m, c = torch.arange(4.).view(2, 2), torch.ones(2, 2)
print(torch.addmm(0.5, c, 2, m, m), torch.addmm(0.5, c, m, m), c.addmm(0.5, 2, m, m), c.addmm_(2, m, m))
print(torch.addmv(2, w, 3, m, g), torch.addr(2, c, 3, w, g), torch.baddbmm(2, c[None], 3, m[None], m[None]))
out = torch.empty(2)
print(torch.add(w, 2, g, out=out) is out, out)
for wrong in (lambda: w.add(g, 2), lambda: torch.mul(w, 2, g), lambda: w.addmm(m, m, 3), lambda: torch.add(w, g, 2)):
    try:
        print(wrong())
    except TypeError as e:
        print("TypeError")
