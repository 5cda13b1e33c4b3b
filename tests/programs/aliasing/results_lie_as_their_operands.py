import torch
x = torch.arange(6.).reshape(2, 3)
w = torch.arange(6.).reshape(2, 3).requires_grad_()
row, vec = torch.ones(3, 2), torch.ones(2)
for t in (x.t() * 2, x.t() + x.t(), x.t().neg(), x.t() + row, row + x.t(), x.t() > 1, x.t().double(), 1 / (x.t() + 1), x.t() * vec, torch.add(x.t(), x.t(), alpha=2)):
    print(t.stride(), t.is_contiguous(), t.tolist())
t = x.t() * 2
try:
    t.view(-1)
except RuntimeError as e:
    print(str(e)[:40])
r = t.reshape(-1)
r[0] = 99
print(t, r)
t[0, 1] = 7
t[:, 0] += 1
t.mul_(2)
print(t, t.t().view(-1), t.contiguous().stride(), t.numpy().strides)
y = w.t() * 2
print(type(y.grad_fn).__name__, type(y.grad_fn.next_functions[0][0]).__name__)
y[0] = 0
(y * y).sum().backward()
print(w.grad)
z = w.t().square() + 1
v = z.t().view(-1)
v.sum().backward()
print(w.grad, z.stride())
