import torch
import torch.nn.functional as F
for d in (torch.float16, torch.bfloat16):
    x = torch.tensor([0.1, 1.7, -3.3, 12.34, 0.037, -7.77, 100.3], dtype=d)
    y = torch.tensor([3.1, -0.7, 0.3, 1.234, 5.037, 2.77, -0.03], dtype=d)
    t = torch.tensor(0.3)
    print(x + 0.3, x - 0.3, 0.3 - x, x * 0.3, x / 0.3, 0.3 / x, x.clone().add_(0.3))
    print(x % 0.3, torch.fmod(x, 0.3), x // 0.3, x.abs() ** 0.3, 2.3 ** y, x > 0.1, x < 1.7)
    print(x + t, x * t, t * x, x / t, t / x, x.add(y, alpha=0.3), x.sub(y, alpha=0.3))
    print(x.lerp(y, 0.3), x.lerp(y, 0.7), torch.addcmul(x, x, y, value=0.3), torch.addcdiv(x, x, y, value=0.3), torch.logaddexp(x, y))
    print(x.round(decimals=1), x.abs().rsqrt(), torch.linspace(0, 1, 7, dtype=d), F.log_softmax(x, 0), x.erfc())
    v = x.clone().requires_grad_()
    v.tanh().sum().backward()
    print(v.grad)
