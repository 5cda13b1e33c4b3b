"""Modules as functions of their parameters, and many modules as one.

    functional_call(net, {"weight": w}, (x,))           # net(x), with w in the place of net.weight
    params, buffers = stack_module_state([net1, net2])  # {"weight": (2, ...), ...}

A module is as it was once the call has returned, or raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lazyt.functions.joining import stack
from lazyt.nn.module import Module
from lazyt.nn.modules.batchnorm import _BatchNorm
from lazyt.tensor import Tensor


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """`module(*args, **kwargs)` with other tensors in the place of parameters and buffers.

    tie_weights: one that a module shares under several names is replaced under all of them.
    strict: all must be given, and none that the module lacks. The module is as before afterwards.
    Errors: ValueError for what are no dicts, or for a name in two of them; RuntimeError by
    `strict`.
    """
    given = _one_dict(parameter_and_buffer_dicts)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, given, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def _one_dict(dicts: Any) -> dict[str, Tensor]:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts)}"
        )
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    names = [name for d in dicts for name in d]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous"
        )
    return {name: value for d in dicts for name, value in d.items()}


def _places(module: Module) -> dict[str, tuple[dict, str]]:
    """Where every parameter and buffer stands, by its dotted name."""
    found = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for table in (owner._parameters, owner._buffers):
            for name, value in table.items():
                if value is not None:
                    found[f"{path}.{name}" if path else name] = (table, name)
    return found


@contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places = _places(module)
    values = dict(given)
    if tie:
        by_tensor: dict[int, list[str]] = {}
        for name, (table, key) in places.items():
            by_tensor.setdefault(id(table[key]), []).append(name)
        for names in by_tensor.values():
            own = [n for n in names if n in given]
            if len({id(given[n]) for n in own}) > 1:
                raise ValueError(
                    f"functional_call got multiple values for keys {own}, which are tied. Consider "
                    "using tie_weights=False"
                )
            values |= dict.fromkeys(names, given[own[0]]) if own else {}
    if strict:
        _check_strict(module, values, places)
    before = [
        (*places[name], places[name][0][places[name][1]]) for name in values if name in places
    ]
    try:
        for name, value in values.items():
            if name in places:
                table, key = places[name]
                table[key] = value
        yield
    finally:
        for table, key, value in before:
            table[key] = value


def _check_strict(module: Module, values: dict, places: dict) -> None:
    unexpected = sorted(set(values) - set(places))
    missing = sorted(set(places) - set(values))
    lines = []
    if unexpected:
        lines.append("Unexpected key(s): " + ", ".join(map(repr, unexpected)) + ".")
    if missing:
        lines.append("Missing key(s): " + ", ".join(map(repr, missing)) + ".")
    if lines:
        name = type(module).__name__
        raise RuntimeError(f"Error(s) in reparametrizing for {name}:\n\t" + "\n\t".join(lines))


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of modules of one class, each stacked along a new first dimension.

    Errors: RuntimeError for none, for several classes, or where some train and others do not.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or not any(m.training for m in models)):
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters: list[dict[str, Tensor]] = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return _stacked(parameters), _stacked(buffers)


def _stacked(tables: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: _leaf([t[name] for t in tables]) for name in tables[0]}


def _leaf(tensors: list[Tensor]) -> Tensor:
    wanted = [t.requires_grad for t in tensors]
    if any(wanted) and not all(wanted):
        raise RuntimeError(
            f"Expected {len(tensors)} parameters or buffers to all require grad or not"
        )
    return stack([t.detach() for t in tensors]).requires_grad_(all(wanted))


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Lets every batch norm below `root` forget its running statistics, so that it normalizes by
    those of the batch alone, which `vmap` can do; returns `root`."""
    for module in root.modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
