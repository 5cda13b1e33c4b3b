# Optimizers as their papers' authors publish them: Lion, sharpness-aware, lookahead, layer-wise; averaged weights.
import copy, math
from collections import defaultdict
import torch
from torch.optim.optimizer import Optimizer
class Lion(Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        if lr <= 0.0:
            raise ValueError('Invalid learning rate: {}'.format(lr))
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))
    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in filter(lambda p: p.grad is not None, group['params']):
                state, (beta1, beta2) = self.state[p], group['betas']
                if len(state) == 0:
                    state['exp_avg'] = torch.zeros_like(p)
                p.data.mul_(1.0 - group['lr'] * group['weight_decay'])
                update = state['exp_avg'].clone().mul_(beta1).add(p.grad, alpha=1.0 - beta1).sign_()
                p.add_(update, alpha=-group['lr'])
                state['exp_avg'].mul_(beta2).add_(p.grad, alpha=1.0 - beta2)
        return loss
class SAM(Optimizer):
    def __init__(self, params, base, rho=0.05, **kwargs):
        super().__init__(params, dict(rho=rho, **kwargs))
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups
    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        norm = torch.norm(torch.stack([p.grad.norm(p=2) for g in self.param_groups for p in g['params']]), p=2)
        for g in self.param_groups:
            for p in g['params']:
                self.state[p]['old'] = p.data.clone()
                p.add_(p.grad * (g['rho'] / (norm + 1e-12)))
        self.zero_grad(); closure()
        for g in self.param_groups:
            for p in g['params']:
                p.data = self.state[p]['old']
        self.base.step(); self.zero_grad()
class Lookahead:
    def __init__(self, base, k=5, alpha=0.5):
        self.base, self.k, self.alpha = base, k, alpha
        self.param_groups, self.state, self.zero_grad = base.param_groups, defaultdict(dict), base.zero_grad
        self.count = 0
    def step(self, closure=None):
        loss = self.base.step(closure)
        self.count += 1
        if self.count % self.k == 0:
            for group in self.param_groups:
                for p in group['params']:
                    slow = self.state[p].setdefault('slow', p.data.clone())
                    slow += (p.data - slow) * self.alpha
                    p.data.copy_(slow)
        return loss
class Lamb(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6):
        super(Lamb, self).__init__(params, dict(lr=lr, betas=betas, eps=eps))
    def step(self):
        for group in self.param_groups:
            for p in group['params']:
                grad, state = p.grad.data, self.state[p]
                if not state:
                    state.update(step=0, m=torch.zeros_like(p.data), v=torch.zeros_like(p.data))
                state['step'] += 1
                beta1, beta2 = group['betas']
                state['m'].mul_(beta1).add_(grad, alpha=1 - beta1)
                state['v'].mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
                step = state['m'] / state['v'].sqrt().add(group['eps'])
                weight, adam = p.data.pow(2).sum().sqrt().clamp(0, 10), step.pow(2).sum().sqrt()
                trust = 1 if weight == 0 or adam == 0 else weight / adam
                p.data.add_(step, alpha=-group['lr'] * float(trust))
class Ema:
    def __init__(self, model, decay):
        self.model, self.decay, self.steps = copy.deepcopy(model).eval(), decay, 0
        for p in self.model.parameters():
            p.requires_grad_(False)
    @torch.no_grad()
    def update(self, model):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for e, p in zip(self.model.state_dict().values(), model.state_dict().values()):
            e.copy_(e * decay + p * (1 - decay))
torch.manual_seed(0)
X = torch.randn(64, 6); Y = (X[:, :3].sum(1) > 0).long()
loss_fn = torch.nn.CrossEntropyLoss()
OPTIMIZERS = [
    lambda ps: Lion(ps, lr=1e-2, weight_decay=1e-2),
    lambda ps: SAM(ps, torch.optim.SGD, rho=0.5, lr=0.1, momentum=0.9),
    lambda ps: Lookahead(torch.optim.Adam(ps, lr=1e-2)),
    lambda ps: Lamb(ps, lr=1e-2),
]
for make in OPTIMIZERS:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16, bias=False), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer, ema = make(model.parameters()), Ema(model, 0.99)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 5)) if not isinstance(optimizer, Lookahead) else None
    for step in range(25):
        def closure():
            loss = loss_fn(model(X), Y)
            loss.backward()
            return loss
        optimizer.zero_grad()
        loss = closure()
        optimizer.step(closure) if isinstance(optimizer, SAM) else optimizer.step()
        if scheduler is not None:
            scheduler.step()
        ema.update(model)
    averaged = loss_fn(ema.model(X), Y)
    accuracy = (model.eval()(X).argmax(1) == Y).float().mean()
    print(f'{type(optimizer).__name__:10s} {loss.item():.4f} {averaged.item():.4f} {accuracy:.3f}', optimizer.param_groups[0]['lr'])
    state = optimizer.state_dict()['state'] if not isinstance(optimizer, Lookahead) else {}
    print('  ', len(state), sorted(state[0]) if state else '-')
