"""Handles that remove hooks again (torch.utils.hooks).

A hook table is a mapping from a handle's id to the hook; removing is deleting that id:

    table = OrderedDict()
    handle = RemovableHandle(table)
    table[handle.id] = print
    handle.remove()  # table is empty again
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lazyt.warned import warn

__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]


class RemovableHandle:
    """Removes one hook from its table, and the hook's options from the tables beside it. The
    tables are held weakly: a handle keeps no module or tensor alive."""

    next_id: int = 0

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        extra = extra_dict if isinstance(extra_dict, list) else [extra_dict]
        tables = [hooks_dict, *(table for table in extra if table is not None)]
        self._tables = tuple(weakref.ref(table) for table in tables)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        for ref in self._tables:
            table = ref()
            if table is not None:
                table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple[int, tuple[Any, ...]]:
        return self.id, tuple(ref() for ref in self._tables)

    def __setstate__(self, state: tuple[int, tuple[Any, ...]]) -> None:
        self.id, tables = state
        # A table that had died stays dead: nothing holds the empty one made here.
        self._tables = tuple(
            weakref.ref(OrderedDict() if table is None else table) for table in tables
        )
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)


def unserializable_hook(f: Callable) -> Callable:
    """Marks a hook of which nobody needs to be told that it is not saved with its tensor."""
    f.__torch_unserializable__ = True  # type: ignore[attr-defined]
    return f


def warn_if_has_hooks(tensor: Any) -> None:
    """One warning for every hook of a tensor that saving it leaves out."""
    meta = tensor._meta
    for run in (meta.hooks if meta is not None and meta.hooks else {}).values():
        hook = run.hook
        if not hasattr(hook, "__torch_unserializable__"):
            warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, "
                "you can decorate the function with @torch.utils.hooks.unserializable_hook to "
                "suppress this warning",
            )
