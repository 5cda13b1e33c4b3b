import torch, numpy as np
a = np.arange(24.).reshape(2, 3, 4)
for b in (a, a.T, a.transpose(0, 2, 1), a[:, ::2], a[:, :, :1], np.broadcast_to(np.ones(3), (2, 3)), np.asfortranarray(np.ones((2, 3), np.float32))):
    t, h = torch.tensor(b), torch.tensor(b, dtype=torch.float16)
    print(tuple(t.shape), t.stride(), h.stride(), torch.as_tensor(b).stride(), torch.equal(t, torch.from_numpy(b)))
t = torch.tensor(a.T); a[0, 0, 0] = 100; print(t[0, 0, 0], t.requires_grad, t.is_leaf)
r = torch.tensor(a.T, requires_grad=True); (r * r).sum().backward(); print(r.is_leaf, r.grad.stride(), r.grad[1])
print(torch.tensor(torch.ones(2, 3).t()).stride(), torch.tensor(torch.ones(3, 4)[:, ::2]).stride(), torch.Tensor(a.T).stride(), torch.tensor([1, 2]).stride())
