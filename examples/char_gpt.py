"""Trains a small GPT on the letters of the manual that ships with Python, and lets it write.

    python examples/char_gpt.py                             # less than a minute
    python examples/char_gpt.py --steps 3000 --prompt "A generator "
    LAZYT_DUMP=dump python examples/char_gpt.py --steps 20  # all that the compiler did, as files

`print(torch.explain(net, letters))` shows it for one call.

The text is that of Python's `help()` on the language. Every tenth paragraph is kept for validation.
With another import line, `import torch`, this program runs in PyTorch.
"""

from __future__ import annotations

import argparse
import math
import re
import textwrap
import time
from pydoc_data.topics import topics

import lazyt as torch

nn, F = torch.nn, torch.nn.functional

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--steps", type=int, default=500)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--context", type=int, default=64, help="how many letters it looks back")
parser.add_argument("--width", type=int, default=96)
parser.add_argument("--layers", type=int, default=3)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--prompt", default="The ")
parser.add_argument("--length", type=int, default=400, help="letters to write at the end")
parser.add_argument("--print-every", type=int, default=100, metavar="STEPS")
parser.add_argument("--output", metavar="FILE", help="write the sample here, too")
parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
parser.add_argument("--seed", type=int, default=0)


# --- the text -------------------------------------------------------------------------------------


def paragraphs() -> list[str]:
    """The sentences of the manual: no headings, grammar or code."""
    found = []
    for paragraph in re.split(r"\n\s*\n", "\n\n".join(topics.values())):
        text = re.sub(r'["*`]', "", " ".join(paragraph.split()))
        letters = sum(c.isalpha() or c == " " for c in text)
        if text.isascii() and re.fullmatch(r"[A-Z].{60,}\.", text) and letters > 0.92 * len(text):
            found.append(text)
    return list(dict.fromkeys(found))


class Corpus:
    """Texts as numbers, one for each letter that occurs, and random pieces of them."""

    def __init__(self) -> None:
        found = paragraphs()
        self.letters = sorted(set("\n".join(found)) | set(parser.get_default("prompt")))
        self.number = {letter: number for number, letter in enumerate(self.letters)}
        train = [paragraph for i, paragraph in enumerate(found) if i % 10]
        self.train = torch.tensor(self.encode("\n".join(train)))
        self.validation = torch.tensor(self.encode("\n".join(found[::10])))

    def encode(self, text: str) -> list[int]:
        return [self.number[letter] for letter in text]

    def decode(self, numbers: list[int]) -> str:
        return "".join(self.letters[number] for number in numbers)

    def batch(self, text: torch.Tensor, size: int, context: int) -> tuple[torch.Tensor, ...]:
        """Pieces of a text and the same pieces one letter on, both (size, context)."""
        starts = torch.randint(len(text) - context, (size, 1))
        places = starts + torch.arange(context)
        return text[places], text[places + 1]


# --- the network ----------------------------------------------------------------------------------


class Attention(nn.Module):
    """Every letter looks at those before it, in several ways at once."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """Attention, then a small network for each letter, each added to what comes in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Letters (batch, length) to what may follow each: logits (batch, length, letters)."""

    def __init__(self, letters: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.context = context
        self.letter = nn.Embedding(letters, width)
        self.place = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)
        for table in (self.letter, self.place):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        places = torch.arange(numbers.shape[1], device=numbers.device)
        x = self.letter(numbers) + self.place(places)
        return self.head(self.norm(self.blocks(x)))

    @torch.no_grad()
    def write(self, numbers: list[int], count: int, temperature: float = 0.7) -> list[int]:
        """Numbers, continued by `count` letters that are drawn one after another."""
        device = self.head.weight.device
        for _ in range(count):
            seen = torch.tensor([numbers[-self.context :]], device=device)
            chances = (self(seen)[0, -1] / temperature).softmax(-1)
            numbers = [*numbers, torch.multinomial(chances, 1).item()]
        return numbers


# --- training -------------------------------------------------------------------------------------


def schedule(step: int, steps: int, warm_up: int = 40) -> float:
    """The learning rate's factor: up in a line, down along a cosine to a tenth."""
    if step < warm_up:
        return (step + 1) / warm_up
    along = (step - warm_up) / max(1, steps - warm_up)
    return 0.55 + 0.45 * math.cos(math.pi * along)


def main() -> None:
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    corpus = Corpus()
    net = GPT(
        len(corpus.letters), options.context, options.width, options.layers, options.heads
    ).to(options.device)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=6e-3,
        betas=(0.9, 0.95),
        weight_decay=0.1,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: schedule(step, options.steps)
    )
    print(
        f"{len(corpus.train):,} letters to learn, {len(corpus.letters)} different ones, "
        f"{sum(p.numel() for p in net.parameters()):,} weights"
    )

    def loss_of(text: torch.Tensor) -> torch.Tensor:
        pieces = corpus.batch(text, options.batch_size, options.context)
        letters, following = (piece.to(options.device) for piece in pieces)
        return F.cross_entropy(net(letters).flatten(0, 1), following.flatten())

    started = time.perf_counter()
    running = 0.0
    for step in range(1, options.steps + 1):
        optimizer.zero_grad()
        loss = loss_of(corpus.train)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        running += loss.item()
        if step % options.print_every == 0:
            print(
                f"step {step:5d}  loss {running / options.print_every:.4f}  "
                f"gradient {norm:.2f}  rate {scheduler.get_last_lr()[0]:.1e}",
                flush=True,
            )
            running = 0.0
    seconds = time.perf_counter() - started

    net.eval()
    with torch.no_grad():
        validation = sum(loss_of(corpus.validation).item() for _ in range(50)) / 50
    began = time.perf_counter()
    sample = corpus.decode(net.write(corpus.encode(options.prompt), options.length))
    print(f"\n{options.length} letters in {time.perf_counter() - began:.1f} s:\n")
    print("\n".join(textwrap.fill(line, 90) for line in sample.splitlines()))
    if options.output:
        with open(options.output, "w") as file:
            file.write(sample + "\n")
    bits = validation / math.log(2)
    print(
        f"\nreached: validation loss {validation:.3f}, {bits:.2f} bits a letter, "
        f"after {options.steps} steps in {seconds:.1f} s"
    )


if __name__ == "__main__":
    main()
