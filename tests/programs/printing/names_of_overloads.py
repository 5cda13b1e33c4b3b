import torch
x = torch.tensor([1., 2.], requires_grad=True)
print(1 - x, x - 1, 2 ** x, x ** x, x ** 2, x % x, x % 2)
print(x.clamp(0, 1), x.clamp(min=x), x.clamp_min(0), x.clamp_max(1.5), x[None].squeeze(), x[None].squeeze(0), x[None].squeeze((0,)))
print(x.masked_fill(x > 1, 0), x.masked_fill(x > 1, torch.tensor(0.)), x.nan_to_num(), torch.rsub(x, x), x.fmod(x))
b = torch.zeros(2)
b.copy_(x)
print(b, b.grad_fn.name())
b[0] = 1
print(b, b.grad_fn.name(), x.view(2, 1).grad_fn.next_functions[0][0].name())
class P(torch.nn.Parameter):
    pass
print(P(torch.ones(1)), torch.nn.Buffer(torch.ones(1)))
