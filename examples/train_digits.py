"""Trains the LeNet of the tour on handwritten digits, and draws how it went.

    python examples/train_digits.py                         # scikit-learn's 1,797 digits
    python examples/train_digits.py --data ~/mnist          # MNIST in its IDX files, plain or gzip

The test set is fixed: every fifth image of scikit-learn's digits, or MNIST's own test files.
"""

from __future__ import annotations

import argparse
import gzip
import os
import struct
import time
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--epochs", type=int, default=24)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--data", metavar="DIR", help="a folder with MNIST's four IDX files")
parser.add_argument("--print-every", type=int, default=60, metavar="STEPS")
parser.add_argument("--dump", metavar="DIR", help="write the IR and the code of every plan here")
parser.add_argument("--picture", default="digits.png", metavar="FILE")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
if options.dump:
    os.environ["LAZYT_DUMP"] = options.dump

import lazyt as torch  # noqa: E402
import lazyt.nn as nn  # noqa: E402
import lazyt.nn.functional as F  # noqa: E402
import lazyt.optim as optim  # noqa: E402
from lazyt.utils.data import DataLoader, TensorDataset  # noqa: E402


class Net(nn.Module):
    """LeNet for 32 x 32 images of one channel."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 16, 3)
        self.fc1 = nn.Linear(16 * 6 * 6, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


# --- data -----------------------------------------------------------------------------------------


def resized(images: np.ndarray, size: int = 32) -> np.ndarray:
    """(N, H, W) images to (N, 1, size, size) by bilinear interpolation, values in [-1, 1]."""
    height, width = images.shape[1:]

    def taps(extent: int):
        at = (np.arange(size) + 0.5) * extent / size - 0.5
        low = np.clip(np.floor(at).astype(int), 0, extent - 1)
        high = np.clip(low + 1, 0, extent - 1)
        return low, high, np.clip(at - low, 0, 1).astype(np.float32)

    y0, y1, fy = taps(height)
    x0, x1, fx = taps(width)
    rows = images[:, y0] * (1 - fy)[:, None] + images[:, y1] * fy[:, None]
    full = rows[:, :, x0] * (1 - fx) + rows[:, :, x1] * fx
    return np.ascontiguousarray(full[:, None] / images.max() * 2 - 1, dtype=np.float32)


def idx(folder: Path, name: str) -> np.ndarray:
    """One of MNIST's IDX files: magic number, extents (big-endian), bytes."""
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            opened = gzip.open if candidate.suffix == ".gz" else open
            with opened(candidate, "rb") as file:
                raw = file.read()
            kind, rank = raw[2], raw[3]
            if kind != 8:
                raise SystemExit(f"{candidate}: expected unsigned bytes, found IDX type {kind}")
            shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
            return np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(shape)
    raise SystemExit(f"{folder}: neither {name} nor {name}.gz is there")


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, test images and labels."""
    if options.data:
        folder = Path(options.data).expanduser()
        return (
            resized(idx(folder, "train-images-idx3-ubyte").astype(np.float32)),
            idx(folder, "train-labels-idx1-ubyte").astype(np.int64),
            resized(idx(folder, "t10k-images-idx3-ubyte").astype(np.float32)),
            idx(folder, "t10k-labels-idx1-ubyte").astype(np.int64),
        )
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = resized(digits.images.astype(np.float32)), digits.target.astype(np.int64)
    test = np.arange(len(images)) % 5 == 0
    return images[~test], labels[~test], images[test], labels[test]


# --- training -------------------------------------------------------------------------------------


def accuracy(net: nn.Module, loader: DataLoader) -> float:
    """The share of images whose largest output is the label."""
    correct = total = 0
    net.eval()
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(options.device), labels.to(options.device)
            correct += (net(images).argmax(1) == labels).sum().item()
            total += len(labels)
    net.train()
    return correct / total


def draw(losses: list[float], net: nn.Module, images: np.ndarray, labels: np.ndarray) -> None:
    """The loss curve, and sixteen test images with what the network says."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with torch.no_grad():
        said = net(torch.from_numpy(images[:16]).to(options.device)).argmax(1).tolist()
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 1])
    axes = left.subplots()
    axes.plot(losses, color="0.8", linewidth=0.8, label="every step")
    window = max(1, len(losses) // 60)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    axes.plot(np.arange(len(smooth)) + window - 1, smooth, color="C0", label=f"mean of {window}")
    axes.set(xlabel="step", ylabel="cross-entropy loss", title="Training loss", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    right.suptitle("Test images and predictions")
    for one, image, label, guess in zip(right.subplots(4, 4).flat, images, labels, said):
        one.imshow(image[0], cmap="gray_r")
        one.set_title(str(guess), color="C0" if guess == label else "C3", fontsize=10)
        one.axis("off")
    figure.savefig(options.picture, dpi=110)
    print(f"picture: {options.picture}")


def main() -> None:
    from tqdm import tqdm

    torch.manual_seed(options.seed)
    train_x, train_y, test_x, test_y = load()
    net = Net()
    if options.device != "cpu":
        net.to(options.device)
    print(net)
    train = DataLoader(
        TensorDataset(torch.from_numpy(train_x), torch.from_numpy(train_y)),
        batch_size=options.batch_size,
        shuffle=True,
    )
    test = DataLoader(
        TensorDataset(torch.from_numpy(test_x), torch.from_numpy(test_y)), batch_size=128
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.05)
    losses: list[float] = []
    started = time.perf_counter()
    for epoch in range(options.epochs):
        running_loss = 0.0
        bar = tqdm(train, desc=f"epoch {epoch + 1}/{options.epochs}", leave=False)
        for i, (inputs, labels) in enumerate(bar):
            inputs, labels = inputs.to(options.device), labels.to(options.device)
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            running_loss += losses[-1]
            if i % options.print_every == options.print_every - 1:
                tqdm.write(
                    f"[{epoch + 1}, {i + 1:5d}] loss: {running_loss / options.print_every:.3f}"
                )
                running_loss = 0.0
    seconds = time.perf_counter() - started
    print(f"Finished Training: {len(losses)} steps in {seconds:.1f} s")
    print(f"test accuracy: {100 * accuracy(net, test):.2f} %")
    draw(losses, net, test_x, test_y)


if __name__ == "__main__":
    main()
