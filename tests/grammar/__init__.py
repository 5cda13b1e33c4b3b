"""Random well-formed tensor programs, as lists of statements.

    >>> generate(random.Random(5), length=3)  # for example
    ['x0 = torch.tensor([[0.5, -1.0]], dtype=torch.float64, requires_grad=True)',
     'x1 = x0.t()[0] * 2',
     'x1.sum().backward()']

Any `random.Random` serves as the source of choices, hypothesis's too. A program uses the names
torch, nn, F, np, copy, io and `saved` (a file in memory that a value was saved to), and appends
what it reads to the list `out`. A family of statements is a module here, most of it tables of what
PyTorch has: functions, reductions, products, functional, modules, training, transforms, mistakes,
creation. A program draws on the core (views, writes, expressions, statements) and some of them.
"""

from .statements import generate

__all__ = ["generate"]
