"""Trains an LSTM to forecast a time series a day ahead, and draws forecasts beside the truth.

    python examples/lstm_series.py                             # less than a minute
    LAZYT_DUMP=dump python examples/lstm_series.py --epochs 1  # all that the compiler did, as files

`print(torch.explain(net, past))` shows it for one call.

The series is made here, a value for each hour: a trend, a daily rhythm whose strength drifts, a
weekly one, and noise, which nobody can forecast. The last fifth is for testing; the picture,
series.png, shows it with its forecasts. With another import line, `import torch`, this program runs
in PyTorch.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import lazyt as torch

nn, F = torch.nn, torch.nn.functional

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--width", type=int, default=48)
parser.add_argument("--past", type=int, default=72, metavar="HOURS", help="what it sees")
parser.add_argument("--ahead", type=int, default=24, metavar="HOURS", help="what it forecasts")
parser.add_argument("--output", default="series.png", metavar="FILE")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)

DAY, WEEK, NOISE = 24, 168, 0.15


def series(hours: int) -> torch.Tensor:
    """A value for each hour (hours,): what an LSTM has to find out."""
    t = torch.arange(hours)
    trend = t / 1000
    drift = 1 + 0.4 * torch.sin(2 * torch.pi * t / 900)
    daily = drift * torch.sin(2 * torch.pi * t / DAY) + 0.4 * torch.sin(4 * torch.pi * t / DAY + 1)
    weekly = 0.6 * torch.sin(2 * torch.pi * t / WEEK)
    return trend + daily + weekly + NOISE * torch.randn(hours)


class Forecaster(nn.Module):
    """The past (batch, past) to the future (batch, ahead). What it computes with is measured from
    the past's mean, so that a trend takes it nowhere new."""

    def __init__(self, width: int, ahead: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, width, batch_first=True)
        self.head = nn.Linear(width, ahead)

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        level = past.mean(1, keepdim=True)
        _, (hidden, _) = self.lstm((past - level)[..., None])
        return level + self.head(hidden[-1])


def windows(values: torch.Tensor, past: int, ahead: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All pieces (n, past) of a series and what follows each (n, ahead)."""
    pieces = values.unfold(0, past + ahead, 1)
    return pieces[:, :past].contiguous(), pieces[:, past:].contiguous()


def error(forecast: torch.Tensor, truth: torch.Tensor) -> float:
    """The root of the mean squared error."""
    return F.mse_loss(forecast, truth).sqrt().item()


def draw(losses: list[float], start: int, values: np.ndarray, days: list, file: str) -> None:
    """The loss curve, and the test hours with the forecasts of each day: (hour, values)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(13, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 2.6])
    left.plot(losses, color="0.75", linewidth=0.8, label="every step")
    window = max(1, len(losses) // 30)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    left.plot(np.arange(len(smooth)) + window - 1, smooth, label=f"mean of {window}")
    left.axhline(NOISE**2, color="0.4", linestyle=":", label="the noise")
    left.set(xlabel="step", ylabel="mean squared error", title="Training loss", yscale="log")
    hours = np.arange(start, start + len(values))
    right.plot(hours / DAY, values, color="0.6", linewidth=1.2, label="truth")
    for i, (hour, forecast) in enumerate(days):
        at = np.arange(hour, hour + len(forecast)) / DAY
        label = "forecasts, one a day" if i == 0 else None
        right.plot(at, forecast, color=f"C{i % 2 * 2 + 1}", linewidth=1.8, label=label)
    right.set(xlabel="day", title="Test days, forecast a day ahead")
    right.set_xticks(range(start // DAY, hours[-1] // DAY + 2, 2))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(file, dpi=110)
    print(f"picture: {file}")


def main() -> None:
    options = parser.parse_args()
    past, ahead = options.past, options.ahead
    torch.manual_seed(options.seed)
    values = series(2400)
    split = len(values) * 4 // 5
    seen, future = windows(values[:split], past, ahead)
    net = Forecaster(options.width, ahead).to(options.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(seen, future),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, epochs=options.epochs, steps_per_epoch=len(loader)
    )
    print(net)
    losses: list[float] = []
    started = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x.to(options.device)), y.to(options.device))
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        last = losses[-len(loader) :]
        print(f"epoch {epoch:3d}  loss {sum(last) / len(last):.4f}", flush=True)
    seconds = time.perf_counter() - started

    test = values[split - past :]
    x, y = windows(test, past, ahead)
    with torch.no_grad():
        forecast = net(x.to(options.device)).cpu()
    yesterday = x[:, -DAY:].repeat(1, -(-ahead // DAY))[:, :ahead]
    reached = error(forecast, y)
    days = [(split + i, forecast[i].numpy()) for i in range(0, len(forecast), ahead)]
    draw(losses, split, values[split:].numpy(), days, options.output)
    print(
        f"reached: error {reached:.3f} on the test hours, where the noise alone is {NOISE:.3f} and "
        f"repeating yesterday gives {error(yesterday, y):.3f}, "
        f"after {len(losses)} steps in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
