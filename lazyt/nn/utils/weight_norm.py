"""Weight normalization: a weight as a direction v and lengths g (Salimans and Kingma 2016).

    layer = weight_norm(nn.Linear(3, 2))      # layer.weight = v * (g / |v|), at every call
    sorted(layer.state_dict())                # ['bias', 'weight_g', 'weight_v']

This is the older form, a hook before forward; `parametrizations.weight_norm` is the newer one.
"""

from __future__ import annotations

from typing import Any, TypeVar

from lazyt.dispatch import tagged
from lazyt.functions.norms import vector_norm
from lazyt.nn.module import Module
from lazyt.parameter import Parameter
from lazyt.registry import FUNCTIONS
from lazyt.state import node_of
from lazyt.tensor import Tensor
from lazyt.warned import warn

OLD = (
    "`torch.nn.utils.weight_norm` is deprecated in favor of "
    "`torch.nn.utils.parametrizations.weight_norm`."
)
_Module = TypeVar("_Module", bound=Module)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norms of the slices of `v` along a dimension, in its rank; of all of it for dim -1."""
    if dim == -1:
        return vector_norm(v, pow)
    others = [d for d in range(v.dim()) if d != dim]
    return vector_norm(v, pow, others, keepdim=True)


def normalized(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """v in the lengths g, slice by slice along a dimension."""
    result = v * (g / norm_except_dim(v, 2, dim))
    if dim in (0, v.dim() - 1):  # PyTorch has a kernel for these
        tagged(node_of(result), "WeightNormInterface", node_of(v), node_of(g))
    return result


class WeightNorm:
    """The hook that computes a weight before every forward."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Module) -> Any:
        """The weight, from its direction and its lengths."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return normalized(v, g, self.dim)

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> WeightNorm:
        """Registers the hook. RuntimeError where the parameter has one."""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm) and hook.name == name:
                raise RuntimeError(
                    f"Cannot register two weight_norm hooks on the same parameter {name}"
                )
        made = WeightNorm(name, dim)
        weight = getattr(module, name)
        del module._parameters[name]
        lengths = norm_except_dim(weight, 2, made.dim)
        module.register_parameter(name + "_g", Parameter(lengths.data))
        module.register_parameter(name + "_v", Parameter(weight.data))
        setattr(module, name, made.compute_weight(module))
        module.register_forward_pre_hook(made)
        return made

    def remove(self, module: Module) -> None:
        """Makes the weight a parameter again."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.data))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: _Module, name: str = "weight", dim: int = 0) -> _Module:
    """Replaces a parameter by its lengths along `dim` and its direction; None: one length."""
    warn(OLD, FutureWarning)
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: _Module, name: str = "weight") -> _Module:
    """Undoes `weight_norm`. ValueError where there is none."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")


FUNCTIONS["norm_except_dim"] = norm_except_dim
