# After "An Empirical Evaluation of Generic Convolutional and Recurrent Networks" (Bai, Kolter and
# Koltun, 2018): dilated causal convolutions with normed weights learn the adding problem.
import warnings

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_, weight_norm

torch.manual_seed(1111)
warnings.simplefilter("ignore", FutureWarning)


class Chomp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : -self.size].contiguous()


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, dilation, dropout):
        super().__init__()
        padding = (kernel - 1) * dilation
        layers = []
        for width in (inputs, outputs):
            conv = nn.Conv1d(width, outputs, kernel, padding=padding, dilation=dilation)
            layers += [weight_norm(conv), Chomp(padding), nn.ReLU(), nn.Dropout(dropout)]
            conv.weight.data.normal_(0, 0.01)
        self.net = nn.Sequential(*layers)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        kept = x if self.shortcut is None else self.shortcut(x)
        return F.relu(self.net(x) + kept)


class Network(nn.Module):
    def __init__(self, channels, kernel=3, dropout=0.1):
        super().__init__()
        pairs = zip([2] + channels[:-1], channels)
        blocks = [Block(a, b, kernel, 2**i, dropout) for i, (a, b) in enumerate(pairs)]
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(channels[-1], 1)
        self.linear.weight.data.normal_(0, 0.01)

    def forward(self, x):
        return self.linear(self.blocks(x)[:, :, -1])


def adding_problem(samples, length):
    numbers = torch.rand([samples, 1, length])
    mask, total = torch.zeros([samples, 1, length]), torch.zeros([samples, 1])
    for i in range(samples):
        first, second = torch.randperm(length)[:2].tolist()
        mask[i, 0, first] = mask[i, 0, second] = 1
        total[i, 0] = numbers[i, 0, first] + numbers[i, 0, second]
    return torch.cat((numbers, mask), dim=1), total


x, y = adding_problem(96, 24)
held_x, held_y = adding_problem(32, 24)
model = Network([8, 8, 8])
print(sorted(model.state_dict())[:4], sum(p.numel() for p in model.parameters()))
optimizer = getattr(torch.optim, "Adam")(model.parameters(), lr=4e-3)
for epoch in range(3):
    model.train()
    total = 0.0
    for i in range(0, x.size(0), 16):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x[i : i + 16]), y[i : i + 16])
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        held = F.mse_loss(model(held_x), held_y).item()
    print("epoch %d | train %.5f | held out %.5f | norm %.4f" % (epoch, total / 6, held, norm))
