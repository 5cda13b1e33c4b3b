"""Trains a variational autoencoder on handwritten digits, and draws the plane it lays them out in.

    python examples/vae_digits.py                             # half a minute
    LAZYT_DUMP=dump python examples/vae_digits.py --epochs 1  # all that the compiler did, as files

`print(torch.explain(net, images))` shows it for one call.

Every digit becomes a small cloud in a plane (Kingma and Welling, "Auto-Encoding Variational Bayes",
2014). The picture, vae.png, has test digits and their reconstructions, the places of all test
digits in the plane, and what the decoder makes of a grid of places. The data are scikit-learn's
1,797 digits, of which every fifth is for testing. With another import line, `import torch`, this
program runs in PyTorch.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

import lazyt as torch

nn, F = torch.nn, torch.nn.functional

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--epochs", type=int, default=150)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--print-every", type=int, default=10, metavar="EPOCHS")
parser.add_argument("--output", default="vae.png", metavar="FILE")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)


class VAE(nn.Module):
    """Images of `pixels` values in [0, 1] to places in a plane, and back."""

    def __init__(self, pixels: int = 64, width: int = 256, latent: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(pixels, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.mean = nn.Linear(width, latent)
        self.log_variance = nn.Linear(width, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, pixels),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the reconstruction, mean and logarithm of the variance of each cloud."""
        hidden = self.encoder(images)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        place = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(place), mean, log_variance


def losses(
    logits: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the reconstructions miss, and how far the clouds are from a normal distribution (in
    nats an image); their sum bounds the negative log likelihood."""
    missed = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    apart = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
    return missed / len(images), apart / len(images)


def load() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images to learn (N, 64), images to test and what digits these show."""
    digits = load_digits()
    images = torch.from_numpy((digits.data / 16).astype(np.float32))
    test = torch.arange(len(images)) % 5 == 0
    return images[~test], images[test], torch.from_numpy(digits.target)[test]


def draw(net: VAE, images: torch.Tensor, labels: torch.Tensor, file: str) -> None:
    """Reconstructions, the digits' places, and the digits of a grid of places."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    device = next(net.parameters()).device
    edge = torch.linspace(-2.2, 2.2, 15)
    grid = torch.stack(torch.meshgrid(edge, edge.flip(0), indexing="xy"), -1).to(device)
    with torch.no_grad():
        places = net.mean(net.encoder(images.to(device)))
        again = net.decoder(places).sigmoid().cpu().numpy()
        walk = net.decoder(grid).sigmoid().cpu().numpy()

    def sheet(axes, tiles: np.ndarray, title: str) -> None:
        """Small images (rows, columns, height, width) as one, with gaps between them."""
        framed = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)))
        rows, columns, height, width = framed.shape
        axes.imshow(framed.swapaxes(1, 2).reshape(rows * height, columns * width), cmap="gray_r")
        axes.set_title(title)
        axes.axis("off")

    one_of_each = [torch.nonzero(labels == digit).flatten()[:5] for digit in range(10)]
    shown = torch.stack(one_of_each, 1).numpy()
    pairs = np.stack([images.numpy()[shown], again[shown]], 2).reshape(5, 10, 2, 8, 8)
    pairs = np.pad(pairs, ((0, 0), (0, 0), (0, 0), (0, 1), (0, 0))).reshape(5, 10, 18, 8)
    figure = plt.figure(figsize=(15, 5.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    sheet(left, pairs, "Digits, each above its reconstruction")
    x, y = places.cpu().numpy().T
    dots = middle.scatter(x, y, c=labels.numpy(), cmap="tab10", vmin=-0.5, vmax=9.5, s=14)
    figure.colorbar(dots, ax=middle, ticks=range(10), label="digit", shrink=0.9)
    middle.set(title="Where the test digits lie", xlabel="$z_1$", ylabel="$z_2$")
    middle.set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    middle.spines[["top", "right"]].set_visible(False)
    sheet(right, walk.reshape(15, 15, 8, 8), "What the decoder makes of the plane")
    figure.savefig(file, dpi=110)
    print(f"picture: {file}")


def main() -> None:
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    images, test, labels = load()
    net = VAE().to(options.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images), batch_size=options.batch_size, shuffle=True
    )
    print(net)
    started = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        sums = torch.zeros(2)
        for (batch,) in loader:
            batch = batch.to(options.device)
            missed, apart = losses(*net(batch), batch)
            optimizer.zero_grad()
            (missed + apart).backward()
            optimizer.step()
            sums += torch.stack([missed, apart]).detach().cpu() * len(batch)
        if epoch % options.print_every == 0 or epoch == 1:
            missed, apart = (sums / len(images)).tolist()
            print(
                f"epoch {epoch:4d}  loss {missed + apart:.3f} = "
                f"reconstruction {missed:.3f} + divergence {apart:.3f}",
                flush=True,
            )
    seconds = time.perf_counter() - started

    with torch.no_grad():
        missed, apart = losses(*net(test.to(options.device)), test.to(options.device))
    draw(net, test, labels, options.output)
    print(
        f"reached: test loss {missed + apart:.2f} nats a digit "
        f"after {options.epochs} epochs in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
