"""Inherited methods of layers under the layer's own name.

Several layers share an `__init__` or a `forward` in a private base. What Python says about wrong
arguments, and what a traceback shows, should name the layer the user made:

    Conv2d.__init__() missing 1 required positional argument: 'kernel_size'
"""

from __future__ import annotations

from types import FunctionType

# Bases that PyTorch has too: its messages name them.
SHARED = {
    "_AdaptiveAvgPoolNd.__init__",
    "_BatchNorm.__init__",
    "_BatchNorm.forward",
    "_DropoutNd.__init__",
    "_Loss.__init__",
    "_WeightedLoss.__init__",
    "_InstanceNorm.__init__",
    "_InstanceNorm.forward",
    "_MaxPoolNd.__init__",
}


def own_methods(layer: type) -> None:
    """Gives `layer` copies, under its own name, of the methods it has from a private base."""
    for name in ("__init__", "forward"):
        method = getattr(layer, name)
        inherited = name not in layer.__dict__ and method.__qualname__.startswith("_")
        if not inherited or method.__qualname__ in SHARED:
            continue
        copy = FunctionType(
            method.__code__, method.__globals__, name, method.__defaults__, method.__closure__
        )
        copy.__kwdefaults__, copy.__doc__ = method.__kwdefaults__, method.__doc__
        copy.__annotations__, copy.__module__ = method.__annotations__, layer.__module__
        copy.__qualname__ = f"{layer.__name__}.{name}"
        setattr(layer, name, copy)
