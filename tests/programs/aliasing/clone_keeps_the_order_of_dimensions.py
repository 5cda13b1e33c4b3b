import torch
x = torch.arange(6.).view(2, 3)
t = x.t()
c = t.clone()
print(c.stride(), c.is_contiguous(), t.contiguous().stride(), t.clone(memory_format=torch.contiguous_format).stride())
try:
    c.view(-1)
except RuntimeError as e:
    print(str(e)[:40])
c[0, 1] = 50
print(c, x, c.t().view(-1), c.reshape(-1))
w = t.clone().requires_grad_()
(w * w).sum().backward()
with torch.no_grad():
    w -= w.grad
print(w, w.grad.shape, w.is_leaf)
p = torch.ones(3, requires_grad=True)
q = (p * torch.ones(2, 3)).t().clone()
q[0] = 0
q.sum().backward()
print(p.grad)
y = torch.arange(24.).view(2, 3, 4).permute(2, 0, 1).clone()
y[0] = -1
print(y.stride(), y[:2], x[:, :2].t().clone().stride(), x[:, ::2].clone().stride(), x.expand(2, 2, 3).clone().stride())
n = c.numpy()
n[2, 0] = 8
print(c, n.strides)
