import torch
import torch.nn as nn
x = torch.ones(2)
print(torch.zeros(2, dtype=float), torch.ones(2, dtype=int), torch.tensor([0, 2], dtype=bool), torch.arange(3, dtype=float))
print(x.to(int), x.to(float), x.to(dtype=bool), torch.full((1,), 2, dtype=float), torch.eye(2, dtype=int), torch.zeros_like(x, dtype=bool))
print(x.sum(dtype=int), torch.arange(3).mean(dtype=float), torch.cumsum(x, 0, dtype=int), x.prod(dtype=int), torch.softmax(x, 0, dtype=float), x.norm(dtype=float))
print(torch.rand(2, dtype=float).dtype, torch.randint(3, (1,), dtype=float).dtype, torch.linspace(0, 1, 2, dtype=float), x.new_zeros(1, dtype=int), x.new_tensor([1.5], dtype=int), torch.as_tensor(x, dtype=float))
print(nn.Linear(1, 1, dtype=float).weight.dtype, nn.Linear(1, 1).to(float).bias.dtype, torch.promote_types(int, float), torch.can_cast(int, float), torch.finfo(float).eps)
for bad in (lambda: nn.Linear(1, 1).to(int), lambda: torch.zeros(1, dtype="float"), lambda: x.type(float)):
    try:
        bad()
    except Exception as e:
        print(type(e).__name__, e)
