import torch
import torch.nn as nn
def tell(f, cut=None):
    try:
        f()
        print("no error")
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])
ones = torch.ones(2, 2) + 0
tell(lambda: torch.linalg.inv(ones - 1))
tell(lambda: torch.linalg.solve(ones * 0, torch.ones(2)))
tell(lambda: torch.linalg.matrix_power(ones - 1, -1))
tell(lambda: nn.BCELoss()(torch.tensor([1.5]), torch.tensor([1.])))
tell(lambda: nn.BCELoss()(torch.tensor([0.5]), torch.tensor([-0.5])))
def factor(k):
    jitter = 1e-6
    for i in range(8):
        try:
            return torch.linalg.cholesky(k + jitter * torch.eye(2)), i
        except torch.linalg.LinAlgError:
            jitter *= 10
print(factor(ones - 1), factor(ones), factor(ones * 2 - 2.001))
tell(lambda: torch.tensor([torch.tensor([1, 2])]))
tell(lambda: torch.tensor([torch.tensor([1., 2.])]))
