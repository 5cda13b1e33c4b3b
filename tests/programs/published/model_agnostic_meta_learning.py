# After public reproductions of MAML on sine waves (Finn et al., 2017).
import torch, math, copy
import torch.nn as nn, torch.nn.functional as F
from collections import OrderedDict
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(OrderedDict([('l1', nn.Linear(1, 20)), ('relu1', nn.ReLU()), ('l2', nn.Linear(20, 20)), ('relu2', nn.ReLU()), ('l3', nn.Linear(20, 1))]))
    def forward(self, x): return self.net(x)
    def argforward(self, x, weights):
        x = F.linear(x, weights[0], weights[1]); x = F.relu(x)
        x = F.linear(x, weights[2], weights[3]); x = F.relu(x)
        return F.linear(x, weights[4], weights[5])
class SineTask():
    def __init__(self, a, p): self.a, self.p = a, p
    def sample(self, n):
        x = torch.rand((n, 1)) * 10 - 5
        return x, self.a * torch.sin(x + self.p)
net = Net(); opt = torch.optim.Adam(net.parameters(), 1e-2)
for it in range(9):
    metaloss = 0
    for t in range(3):
        task = SineTask(0.1 + 4.9 * torch.rand(1).item(), math.pi * torch.rand(1).item())
        temp = [w.clone() for w in net.parameters()]
        for step in range(2):
            X, y = task.sample(10)
            loss = F.mse_loss(net.argforward(X, temp), y)
            grad = torch.autograd.grad(loss, temp, create_graph=True)
            temp = [w - 0.01 * g for w, g in zip(temp, grad)]
        X, y = task.sample(10)
        metaloss = metaloss + F.mse_loss(net.argforward(X, temp), y)
    metagrads = torch.autograd.grad(metaloss / 3, list(net.parameters()))
    for w, g in zip(net.parameters(), metagrads): w.grad = g
    opt.step()
    if it % 4 == 0: print(it, round(metaloss.item() / 3, 4))
dummy = Net(); dummy.load_state_dict(net.state_dict()); inner = torch.optim.SGD(dummy.parameters(), 0.01)
X, y = SineTask(2., 1.).sample(10)
for i in range(4):
    l = F.mse_loss(dummy(X), y); inner.zero_grad(); l.backward(); inner.step(); print(l.item())
c = copy.deepcopy(dummy); print(sum((p - q).abs().sum() for p, q in zip(c.parameters(), dummy.parameters())))
