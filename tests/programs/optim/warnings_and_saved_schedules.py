import warnings, torch
from torch.optim.lr_scheduler import LambdaLR, StepLR
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    p = torch.nn.Parameter(torch.ones(1))
    o = torch.optim.SGD([p], lr=1.0)
    s = StepLR(o, 1)
    s.step()
    o.step()
    print(p.grad)
    s.step()
    o.zero_grad()
print([str(w.message).split(".")[0] for w in seen])
class Ramp:
    def __init__(self): self.k = 3
    def __call__(self, epoch): return self.k * epoch
s = LambdaLR(o, Ramp())
print(list(s.state_dict()), s.state_dict()["lr_lambdas"])
for make in (torch.optim.Adam, torch.optim.AdamW):
    try:
        make([p], lr="a")
    except TypeError as e:
        print(e)
