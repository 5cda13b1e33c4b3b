import torch
print(torch.iinfo(torch.int32), torch.iinfo(torch.uint8), torch.finfo(torch.float32), torch.finfo(torch.bfloat16))
print(torch.iinfo(torch.int8) == torch.iinfo(torch.int8), torch.finfo(torch.half) == torch.finfo(torch.float))
print(torch.strided, torch.zeros(1).layout, torch.contiguous_format, [torch.channels_last, torch.preserve_format])
print(torch.set_grad_enabled(True), torch.erfc(torch.tensor([0.5, 3., 4., 9.])), torch.erfc(torch.tensor([4.5], dtype=torch.float64)))
