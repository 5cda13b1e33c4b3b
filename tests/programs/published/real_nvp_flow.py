# After public implementations of real NVP (Dinh et al., 2017).
import torch, torch.nn as nn, math
torch.manual_seed(0)
class RealNVP(nn.Module):
    def __init__(self, nets, nett, mask):
        super(RealNVP, self).__init__()
        self.mask = nn.Parameter(mask, requires_grad=False)
        self.t = torch.nn.ModuleList([nett() for _ in range(len(mask))])
        self.s = torch.nn.ModuleList([nets() for _ in range(len(mask))])
    def g(self, z):
        x = z
        for i in range(len(self.t)):
            x_ = x * self.mask[i]
            s = self.s[i](x_) * (1 - self.mask[i])
            t = self.t[i](x_) * (1 - self.mask[i])
            x = x_ + (1 - self.mask[i]) * (x * torch.exp(s) + t)
        return x
    def f(self, x):
        log_det_J, z = x.new_zeros(x.shape[0]), x
        for i in reversed(range(len(self.t))):
            z_ = self.mask[i] * z
            s = self.s[i](z_) * (1 - self.mask[i])
            t = self.t[i](z_) * (1 - self.mask[i])
            z = (1 - self.mask[i]) * (z - t) * torch.exp(-s) + z_
            log_det_J -= s.sum(dim=1)
        return z, log_det_J
    def log_prob(self, x):
        z, logp = self.f(x)
        return (-0.5 * (z ** 2).sum(1) - math.log(2 * math.pi)) + logp
nets = lambda: nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 16), nn.LeakyReLU(), nn.Linear(16, 2), nn.Tanh())
nett = lambda: nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 16), nn.LeakyReLU(), nn.Linear(16, 2))
masks = torch.from_numpy(__import__("numpy").array([[0, 1], [1, 0]] * 2).astype("float32"))
flow = RealNVP(nets, nett, masks)
optimizer = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad == True], lr=1e-3)
for t in range(20):
    th = torch.rand(64) * math.pi
    x = torch.stack([th.cos(), th.sin()], 1) + 0.05 * torch.randn(64, 2)
    loss = -flow.log_prob(x).mean()
    optimizer.zero_grad()
    loss.backward(retain_graph=True)
    optimizer.step()
    if t % 5 == 0: print('iter %s:' % t, 'loss = %.3f' % loss)
z = flow.f(x)[0].detach().numpy(); print(z[0])
x2 = flow.g(torch.randn(5, 2)); print(x2, (flow.g(flow.f(x)[0]) - x).abs().max() < 1e-4)
