import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
def tell(f, cut=None):
    try:
        f()
        print("no error")
    except Exception as e:
        print(type(e).__name__ + ":", str(e).split("\n")[0][:cut])

x = torch.ones(2, 3)
tell(lambda: nn.Conv2d(3, 8))
tell(lambda: nn.Conv2d(3, 8, 3, kernel=2))
tell(lambda: nn.BatchNorm2d())
tell(lambda: nn.MaxPool2d())
tell(lambda: nn.Dropout(0.5, True, 3))
tell(lambda: nn.ReLU(True, 1))
tell(lambda: nn.Softmax(1, 2))
tell(lambda: nn.MSELoss(mean=True))
tell(lambda: nn.ReLU()(x, x))
tell(lambda: nn.Tanh()())
tell(lambda: nn.Dropout()(x, x))
tell(lambda: nn.MSELoss()(x))
tell(lambda: nn.Tanh()("a"))
tell(lambda: F.tanh([1.0]))
tell(lambda: nn.Linear(3, 2)(np.ones((2, 3), dtype=np.float32)))
tell(lambda: F.softmax(x, "a"))
tell(lambda: F.cross_entropy(x, x.long()))
tell(lambda: F.cross_entropy(x[0], torch.tensor([1, 0, 0])))
torch.manual_seed(0)
tell(lambda: F.dropout(torch.arange(3), 0.5))
w = torch.ones(3, requires_grad=True)
tell(lambda: F.dropout(w, 0.5, inplace=True))
print(torch.rand(1), F.dropout(torch.ones(3).expand(2, 3), 0.5), torch.rand_like(torch.ones(3, 1).expand(3, 2)))
tell(lambda: F.nll_loss(x.long(), torch.tensor([0, 1])))
tell(lambda: nn.LayerNorm(3)(x.long()))
tell(lambda: nn.Conv2d(3, 4, (3, 0))(torch.ones(1, 3, 8, 8)))
tell(lambda: nn.Sequential(nn.ReLU))
