import numpy as np, torch
i, m, b = torch.tensor([3, 0]), torch.tensor([True, False]), np.bool_(True)
print(i * b, b * i, m * b, i + (np.arange(2)[0] > 0), i ** b, i.half() * b, torch.where(m, b, i), i * bool(b))
print(i.clone().fill_(b), i == b, torch.tensor([b, b]), torch.full((1,), b))
try:
    print(m & b)
except NotImplementedError as e:
    print(e)
