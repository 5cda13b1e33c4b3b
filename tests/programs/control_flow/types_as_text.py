import torch
t = torch.ones(2, requires_grad=True)
print(type(t), type(t.shape), type(t.dtype), type(t.device), type(torch.nn.Parameter(t)), type((t * 2).grad_fn))
print(type(t.detach().max(0)), [torch.Tensor], f"{torch.Size}", torch.typename(t.detach()), torch.typename(torch.ones(1, dtype=torch.int64)))
class Mine(torch.Tensor):
    pass
m = t.detach().as_subclass(Mine)
print(Mine, type(m), m, isinstance(m, torch.Tensor), (1,) + torch.Size([2]), torch.Size([1, 2])[:1])
a, b = torch.tensor([1., 2.]), torch.tensor([1., 3.])
print(a == b.numpy(), b.numpy() == a, a == ["x"], a != a.numpy())
try:
    t.requires_grad_("yes")
except TypeError as e:
    print(e)
