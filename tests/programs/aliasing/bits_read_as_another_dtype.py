import torch
x = torch.zeros(2, 2, dtype=torch.int32)
f = x.view(torch.float32)
f.fill_(1.)
print(x, f.data_ptr() == x.data_ptr())
x.add_(1 << 23)
print(f)
x[0] = 0
f[1, 1] = -2.5
print(f.tolist(), x.tolist())
b = torch.ones(3).bool()
b.view(torch.uint8)[0] = 0
print(b, torch.arange(4, dtype=torch.int16).view(torch.int32), torch.tensor([1., 2.]).view(torch.uint8)[3:5])
part = torch.arange(6, dtype=torch.int32)[2:4].view(torch.uint8)
part[0] = 9
print(part, torch.tensor([1.5]).half().view(torch.int16), torch.tensor([1.]).bfloat16().view(torch.int16))
