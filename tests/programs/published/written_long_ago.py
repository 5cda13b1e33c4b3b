# A GAN on moments of a distribution, in the PyTorch of 2017: Variables, factors between operands,
# storages, old names and old arguments. It runs, and is told what is out of date.
import re
import warnings

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable

torch.manual_seed(11)
torch.set_warn_always(True)


class Net(nn.Module):
    def __init__(self, sizes):
        super(Net, self).__init__()
        self.maps = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])

    def forward(self, x):
        for layer in self.maps[:-1]:
            x = F.tanh(layer(x))
        return self.maps[-1](x)


def extract(v):
    return v.data.storage().tolist()


def moments(d):
    mean = torch.mean(d)
    diffs = d - mean
    std = torch.pow(torch.mean(torch.pow(diffs, 2.0)), 0.5)
    scores = diffs / std
    skew, tail = torch.mean(torch.pow(scores, 3.0)), torch.mean(torch.pow(scores, 4.0)) - 3.0
    return torch.cat([m.reshape(1) for m in (mean, std, skew, tail)])


def descend(net, velocities, rate=0.05, momentum=0.9):
    for p, v in zip(net.parameters(), velocities):
        v.mul_(momentum).add_(1 - momentum, p.grad.data)
        p.data.add_(-rate, v)
        p.grad.data.zero_()


def train():
    G, D = Net([1, 5, 1]), Net([4, 6, 1])
    nets = [(n, [torch.zeros(p.size()) for p in n.parameters()]) for n in (G, D)]
    for epoch in range(6):
        real = Variable(torch.Tensor(np.random.RandomState(epoch).normal(4, 1.25, (40, 1))))
        noise = Variable(torch.rand(40, 1), volatile=False)
        fake = G(noise)
        yes, no = Variable(torch.ones(1)), Variable(torch.zeros(1))
        d_error = F.binary_cross_entropy(F.sigmoid(D(moments(real))), yes, size_average=False)
        d_error += F.binary_cross_entropy(F.sigmoid(D(moments(fake.detach()))), no)
        d_error.backward()
        descend(*nets[1])
        g_error = F.binary_cross_entropy(F.sigmoid(D(moments(G(noise)))), yes)
        g_error.backward()
        descend(*nets[0])
        D.zero_grad()
        print("%d: D %1.4f G %1.4f" % (epoch, d_error, extract(g_error)[0]), end=" ")
        print("spread %.4f" % np.std(extract(fake)))
    scores = Variable(torch.stack([fake.data[:3, 0], real.data[:3, 0]]))
    print(F.softmax(scores).data.sum(1).tolist(), torch.ones(1, 2, 3).T.size())
    print(torch.Tensor([np.ones(2), np.zeros(2)]).norm(), real.data[:1].std())
    print(nn.utils.clip_grad_norm(G.parameters(), 1.0) >= 0, F.upsample(torch.ones(1, 1, 2), 4)[0])


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    train()
seen = []
for warning in caught:
    words = re.sub(r"\s*\(Triggered internally.*", "", str(warning.message), flags=re.S)
    said = warning.category.__name__ + ": " + words
    if said not in seen:
        seen.append(said)
print("\n".join(sorted(seen)))
torch.set_warn_always(False)
