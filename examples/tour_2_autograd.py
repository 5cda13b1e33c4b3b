# Autograd: PyTorch introduced to a newcomer.
import lazyt as torch
x = torch.ones(2, 2, requires_grad=True)
y = x + 2
z = y * y * 3
out = z.mean()
out.backward()
print(x.grad); print(y); print(z); print(out); print(y.grad_fn is not None)
