import numpy as np, torch
a = np.asfortranarray(np.arange(6.).reshape(2, 3))
f = torch.from_numpy(a)
print(f.stride(), f.is_contiguous(), f.t().is_contiguous())
f.t()[1, 0] = 100
try:
    f.view(-1)
except RuntimeError as e:
    print(str(e)[:40])
f.reshape(-1)[0] = -5
print(a, f.reshape(-1))
t = torch.tensor([1., 4., 9.])
print(np.isnan(t), np.greater(t, 3), np.sqrt(t), t == np.array([1., 2., 9.]), np.float32(2) * t, t[np.array([2, 0])])
back = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(t))
back[0] = 7
print(t)
