"""Named results: tuples that print and unpack as those of torch.return_types.

    values, indices = torch.max(x, 1)
    torch.max(x, 1).indices

Both read the same result.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, cast

from lazyt.ir.public_type import PublicType


class NamedResult(tuple, metaclass=PublicType):
    """A tuple of results whose positions have names, `_fields`."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __new__(cls, results: Any = (), /) -> NamedResult:
        results = tuple(results)
        wanted = len(cls._fields)
        if len(results) != wanted:
            raise TypeError(
                f"torch.return_types.{cls.__name__}() takes a {wanted}-sequence "
                f"({len(results)}-sequence given)"
            )
        return tuple.__new__(cls, results)

    def __repr__(self) -> str:
        inner = ",\n".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"torch.return_types.{type(self).__name__}(\n{inner})"

    def __reduce__(self) -> tuple:
        return (type(self), (tuple(self),))


def _result(name: str, *fields: str) -> type[NamedResult]:
    members: dict[str, Any] = {"__slots__": (), "_fields": fields, "__module__": __name__}
    members["_public_name"] = f"torch.return_types.{name}"
    members |= {"n_fields": len(fields), "n_sequence_fields": len(fields), "n_unnamed_fields": 0}
    for i, field in enumerate(fields):
        members[field] = property(itemgetter(i))
    return cast("type[NamedResult]", PublicType(name, (NamedResult,), members))


_PAIRS = (
    "max",
    "min",
    "median",
    "nanmedian",
    "mode",
    "kthvalue",
    "sort",
    "topk",
    "cummax",
    "cummin",
)
for _name, _fields in {
    **dict.fromkeys(_PAIRS, ("values", "indices")),
    "aminmax": ("min", "max"),
    "svd": ("U", "S", "V"),
    "linalg_svd": ("U", "S", "Vh"),
    **dict.fromkeys(("qr", "linalg_qr"), ("Q", "R")),
    "linalg_eigh": ("eigenvalues", "eigenvectors"),
    **dict.fromkeys(("slogdet", "linalg_slogdet"), ("sign", "logabsdet")),
    "linalg_lstsq": ("solution", "residuals", "rank", "singular_values"),
}.items():
    # What a function returns that was given `out=` has a type of its own.
    for _suffix in ("", "_out"):
        globals()[_name + _suffix] = _result(_name + _suffix, *_fields)
