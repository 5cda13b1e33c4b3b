"""Random well-formed tensor programs, as lists of statements.

    >>> generate(random.Random(5), length=3)  # for example
    ['x0 = torch.tensor([[0.5, -1.0]], dtype=torch.float64, requires_grad=True)',
     'x1 = x0.t()[0] * 2',
     'x1.sum().backward()']

Any `random.Random` serves as the source of choices, hypothesis's too. A program uses the names
torch, np, copy, and appends what it reads to the list `out`.
"""

from .statements import generate

__all__ = ["generate"]
