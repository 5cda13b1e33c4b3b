import torch
u = torch.full((300,), 1, dtype=torch.uint8)
print(u.sum(dtype=torch.uint8), u.sum(0, dtype=torch.uint8), (u * 3).view(3, 100).sum(1, dtype=torch.uint8), u.sum(), u.cumsum(0, dtype=torch.uint8)[-1])
s = torch.full((40,), 7, dtype=torch.int8)
print(s.sum(dtype=torch.int8), (-s).sum(dtype=torch.int8), s.prod(dtype=torch.int8), s.sum(dtype=torch.int16), torch.full((3,), 2 ** 31 - 1, dtype=torch.int32).sum(dtype=torch.int32))
print(torch.tensor([300, 1]).sum(dtype=torch.uint8), torch.full((9,), 30000, dtype=torch.int16).sum(dtype=torch.int16) + 1)
