"""Classes that show themselves under PyTorch's names: `type(x)` prints `<class 'torch.Tensor'>`.

Programs print `type(x)`. A class keeps its real `__module__`, by which pickle finds it; only its
text is the public one. A subclass that a user writes shows itself as any Python class does.
"""

from __future__ import annotations


class PublicType(type):
    """The type of classes with a `_public_name` of their own, which is how they print."""

    def __repr__(cls) -> str:
        name = cls.__dict__.get("_public_name")
        return type.__repr__(cls) if name is None else f"<class '{name}'>"
