import torch, numpy as np
print(torch.ones(2).untyped_storage())
print(torch.ones(2).storage())
print(torch.tensor([1, 2]).storage(), torch.tensor([True]).storage())
print(torch.ones(2).bfloat16().untyped_storage(), torch.ones(2).half().storage(), torch.ones(0).storage())
s = torch.arange(4.)[1:].untyped_storage(); print(len(s), s[3], s.tolist(), s.nbytes())
print(torch.finfo(torch.float16), torch.finfo(torch.float32), torch.finfo(torch.float64).resolution)
s = torch.arange(4.)[1:].storage(); print(len(s), s[3], list(s), s.tolist(), s.dtype)
