"""Whether what a backward saved is still there: the node to read, or PyTorch's error.

    y = x.exp()         # its backward reads y
    y.add_(1)           # a counted write: y's old node has the mark `Overwritten`
    current(old)        # RuntimeError: ... modified by an inplace operation: ...

A write by `.data` is not counted: `current` gives the node that was put in the place.
"""

from __future__ import annotations

from typing import Any

from .node import LOCAL, Node, Overwritten
from .ops_shape import alias
from .tags import ANOMALY, OUTPUT, Copied


def current(node: Node, reader: Node | None = None) -> Node:
    """The node to read where `node` was saved: itself, or what a `.data` write put in its place.

    Raises PyTorch's RuntimeError where a tracked write replaced it, unless that was the in-place
    operation `reader` itself, which keeps what it overwrote (its first operand).
    """
    if node.tag is not None and node.tag.follows:
        return kept_apart(node) if _kept_by(node, reader) else node.tag.now(node, reader)
    base, path = node, []
    while base.op is not None and base.op.view and base.src and base.after is None:
        if base.tag is not None and base.tag.follows:
            break
        path.append(base)
        base = base.src[-1] if base.op.name == "replaced" else base.src[0]
    if _kept_by(base, reader):
        return kept_apart(node)
    if base.tag is not None and base.tag.follows:
        now = base.tag.now(base, reader, path[0] if path else None)
        if now is base:
            return node
        base = now
    elif base.after is None:
        return node
    start = base
    while base.after is not None:
        if isinstance(base.after, Overwritten):
            if base.after.holds():
                now = base.after.value(base)
                if now is start:
                    return node
                base = now
                break
            raise RuntimeError(overwritten_text(node, base.after))
        base = base.after
    for step in reversed(path):
        if step.op.name == "replaced":
            base = step.op(step.src[0], base)
        else:
            base = step.op(base, *step.src[1:], arg=step.arg)
    return base


def _kept_by(node: Node, reader: Node | None) -> bool:
    """Whether the in-place operation `reader` itself overwrote the node: it keeps what it read."""
    mark = node.after
    return reader is not None and isinstance(mark, Overwritten) and id(reader) in mark.by


def kept_apart(node: Node) -> Node:
    """A value as PyTorch saves one that it has copied: no write to what it was copied from counts.

    So is one that the backward of the operation that overwrote it reads: for a derivative of that
    backward it is not overwritten.
    """
    if not LOCAL.grad:
        return node
    made = alias(node)
    made.tag = Copied()
    return made


def short_name(grad_name: str) -> str:
    """The operation without "Backward0"; a number other than 0 stays."""
    name, _, number = grad_name.partition("Backward")
    return name + number.lstrip("0")


# The primitives that views are made by.
VIEWS = frozenset(("alias", "part", "permute", "expand", "slice", "as_strided", "reshape"))


def hint() -> str:
    """What PyTorch advises where a saved value was overwritten."""
    if ANOMALY[0] is not None:
        return (
            "the backtrace further above shows the operation that failed to compute its gradient. "
            "The variable in question was changed in there or anywhere later. Good luck!"
        )
    return (
        "enable anomaly detection to find the operation that failed to compute its gradient, with "
        "torch.autograd.set_detect_anomaly(True, check_nan=False)."
    )


def overwritten_text(node: Node, mark: Any) -> str:
    if mark.text is not None:
        return mark.text
    names = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16"}
    names |= {"int64": "Long", "int32": "Int", "bool": "Bool", "uint8": "Byte"}
    shape = ", ".join(map(str, node.type.shape))
    kind = f"torch.{names.get(node.type.dtype.name, node.type.dtype.name.title())}Tensor"
    if node.type.dtype.name in ("bool", "bfloat16"):  # no legacy type to be named by
        kind = f"CPU{names[node.type.dtype.name]}Type"
    tag = node.tag
    name = node.op.grad_name if tag is None or tag.name is None else tag.name
    if node.op.name in VIEWS and not (tag is not None and OUTPUT in tag.keeps):
        name = "AsStrided"  # what PyTorch derives a view by whose base was written to
    made = node.grad and node.src and (tag is None or tag.leaf is None)
    where = f", which is output 0 of {short_name(name)}," if made else ""
    expected, version = mark.versions()
    return (
        "one of the variables needed for gradient computation has been modified by an inplace "
        f"operation: [{kind} [{shape}]]{where} is at version {version}; expected version "
        f"{expected} instead. Hint: {hint()}"
    )
