# After Greydanus, Dzamba and Yosinski (2019): a network whose gradient is a vector field.
import argparse, os, tempfile
import numpy as np
import torch
parser = argparse.ArgumentParser()
parser.add_argument('--learn_rate', default=1e-2, type=float)
parser.add_argument('--total_steps', default=60, type=int)
args = parser.parse_args([])
np.random.seed(0)
torch.manual_seed(0)
class MLP(torch.nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.linear1 = torch.nn.Linear(inputs, hidden)
        self.linear2 = torch.nn.Linear(hidden, hidden)
        self.linear3 = torch.nn.Linear(hidden, outputs, bias=None)
        for layer in [self.linear1, self.linear2, self.linear3]:
            torch.nn.init.xavier_normal_(layer.weight)
    def forward(self, x):
        return self.linear3(self.linear2(self.linear1(x).tanh()).tanh())
class HNN(torch.nn.Module):
    def __init__(self, dim, net):
        super().__init__()
        self.net = net
        M = torch.eye(dim)
        self.M = torch.cat([M[dim // 2:], -M[:dim // 2]])
    def forward(self, x):
        return self.net(x).split(1, 1)
    def time_derivative(self, x):
        F1, F2 = self.forward(x)
        dF1 = torch.autograd.grad(F1.sum(), x, create_graph=True)[0]
        dF2 = torch.autograd.grad(F2.sum(), x, create_graph=True)[0]
        return dF1 @ torch.eye(*self.M.shape) + dF2 @ self.M.t()
def rk4(f, x, dt):
    k1 = f(x)
    k2 = f(x + dt * k1 / 2)
    k3 = f(x + dt * k2 / 2)
    k4 = f(x + dt * k3)
    return dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6
angle, radius = np.random.rand(80) * 2 * np.pi, 0.5 + np.random.rand(80)
points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
field = np.stack([points[:, 1], -points[:, 0]], 1) * 2 + 0.05 * np.random.randn(80, 2)
x = torch.tensor(points[:60], requires_grad=True, dtype=torch.float32)
test_x = torch.tensor(points[60:], requires_grad=True, dtype=torch.float32)
dxdt, test_dxdt = torch.Tensor(field[:60]), torch.Tensor(field[60:])
model = HNN(2, MLP(2, 16, 2))
optim = torch.optim.Adam(model.parameters(), args.learn_rate, weight_decay=1e-4)
stats = {'train': [], 'test': []}
for step in range(args.total_steps + 1):
    loss = (dxdt - model.time_derivative(x)).pow(2).mean()
    loss.backward(); optim.step(); optim.zero_grad()
    test_loss = (test_dxdt - model.time_derivative(test_x)).pow(2).mean()
    stats['train'].append(loss.item()); stats['test'].append(test_loss.item())
    if step % 20 == 0:
        print("step {}, train_loss {:.4e}, test_loss {:.4e}".format(step, loss.item(), test_loss.item()))
error = (test_dxdt - model.time_derivative(test_x)) ** 2
print('final {:.3e} +/- {:.3e}'.format(error.mean().item(), error.std().item() / np.sqrt(len(error))))
print(x.grad.shape, f'{x.grad.abs().sum().item():.3f}')
path = os.path.join(tempfile.mkdtemp(), 'hnn.tar')
torch.save(model.state_dict(), path)
again = HNN(2, MLP(2, 16, 2))
print(again.load_state_dict(torch.load(path)))
state = torch.tensor([[1.0, 0.0]], requires_grad=True)
for _ in range(5):
    state = (state + rk4(again.time_derivative, state, 0.1)).detach().requires_grad_()
print([round(v, 3) for v in state[0].tolist()], np.round(state.detach().numpy().sum(), 3))
