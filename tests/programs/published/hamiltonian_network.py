# After "Hamiltonian Neural Networks" (Greydanus, Dzamba and Yosinski, 2019): the field that is
# learned is the symplectic gradient of a scalar network, itself differentiated at every step.
import numpy as np
import torch

torch.manual_seed(0)
np.random.seed(0)


class MLP(torch.nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super(MLP, self).__init__()
        self.linear1 = torch.nn.Linear(inputs, hidden)
        self.linear2 = torch.nn.Linear(hidden, hidden)
        self.linear3 = torch.nn.Linear(hidden, outputs, bias=None)
        for layer in [self.linear1, self.linear2, self.linear3]:
            torch.nn.init.orthogonal_(layer.weight)

    def forward(self, x):
        return self.linear3(torch.tanh(self.linear2(torch.tanh(self.linear1(x)))))


class HNN(torch.nn.Module):
    def __init__(self, inputs, model, baseline=False):
        super(HNN, self).__init__()
        self.model, self.baseline = model, baseline
        self.M = self.tensor(inputs)

    def tensor(self, n):
        M = torch.eye(n)
        return torch.cat([M[n // 2 :], -M[: n // 2]])

    def time_derivative(self, x):
        if self.baseline:
            return self.model(x)
        F1, F2 = self.model(x).split(1, 1)
        kept, turned = torch.zeros_like(x), torch.zeros_like(x)
        dF1 = torch.autograd.grad(F1.sum(), x, create_graph=True)[0]
        kept = dF1 @ torch.eye(x.shape[1])
        dF2 = torch.autograd.grad(F2.sum(), x, create_graph=True)[0]
        turned = dF2 @ self.M.t()
        return kept + turned

    def rk4(self, x, dt):
        k1 = dt * self.time_derivative(x)
        k2 = dt * self.time_derivative(x + k1 / 2)
        k3 = dt * self.time_derivative(x + k2 / 2)
        k4 = dt * self.time_derivative(x + k3)
        return (1 / 6) * (k1 + 2 * k2 + 2 * k3 + k4)


times = np.linspace(0, 3, 40)
orbits = np.stack([r * np.stack([np.cos(2 * times), -np.sin(2 * times)], -1) for r in (0.5, 0.8)])
x = torch.tensor(orbits.reshape(-1, 2), requires_grad=True, dtype=torch.float32)
slopes = np.stack([2 * x.data.numpy()[:, 1], -2 * x.data.numpy()[:, 0]], -1)
slopes = torch.Tensor(slopes + 0.05 * np.random.randn(*slopes.shape))
model = HNN(2, MLP(2, 24, 2))
optim = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-4)
for step in range(31):
    ixs = torch.randperm(x.shape[0])[:32]
    loss = (slopes[ixs] - model.time_derivative(x[ixs])).pow(2).mean()
    loss.backward()
    grad = torch.cat([p.grad.flatten() for p in model.parameters()]).clone()
    optim.step()
    optim.zero_grad()
    if step % 10 == 0:
        print("step {}, loss {:.5f}, grad norm {:.5f}".format(step, loss.item(), grad @ grad))
state = torch.tensor([[0.6, 0.0]], requires_grad=True)
for _ in range(5):
    state = (state + model.rk4(state, 0.1)).detach().requires_grad_()
print([round(v, 4) for v in state[0].tolist()])
