import torch
x = torch.ones(2,3).t().clone().requires_grad_(); (x*x).sum().backward(); print(x.grad.stride())
x = torch.ones(2,3).t().clone().requires_grad_(); (x*2).sum().backward(); print(x.grad.stride())
x = torch.ones(2,3).t().clone().requires_grad_(); x.sum().backward(); print(x.grad.stride())
x = torch.ones(2,3).t().clone().requires_grad_(); (x @ torch.ones(2, 2)).sum().backward(); print(x.grad.stride())
x = torch.ones(2,3).t().clone().requires_grad_(); x.exp().sum().backward(); print(x.grad.stride())
w = torch.nn.Parameter(torch.arange(6.).view(2, 3).t()); o = torch.optim.Adam([w], 0.1); m = torch.optim.SGD([w], 0.1, momentum=0.9)
for i in range(3):
    o.zero_grad(); (w ** 2).sum().backward(); o.step(); m.step()
print(w, w.grad.stride(), o.state[w]["exp_avg"].stride(), w.stride())
(w * 3).sum().backward(); print(w.grad)
w.grad = None; y = torch.ones(4, 3, requires_grad=True)[:, ::2].detach().requires_grad_(); (y * 2).sum().backward(); print(y.grad.stride(), y.stride());
z = torch.ones(3, 2).t().requires_grad_(); (z * z * z).sum().backward(create_graph=True); print(z.grad.stride()); torch.autograd.grad(z.grad.sum(), z)
