"""Parametrizations that PyTorch has ready: weight and spectral normalization, orthogonal matrices.

layer = weight_norm(nn.Linear(3, 2))
sorted(layer.state_dict())
# ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

import numpy as np

import lazyt
from lazyt.gradmode import no_grad
from lazyt.nn import functional as F
from lazyt.nn.module import Module
from lazyt.tensor import Tensor

from .parametrize import register_parametrization
from .spectral_norm import as_matrix, default_dim
from .weight_norm import norm_except_dim, normalized

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# --- weight normalization -------------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """A parameter as lengths along `dim` (original0) and a direction (original1).

    State dicts of the older `nn.utils.weight_norm` can be loaded.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict, prefix: str, *_: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                new = f"{prefix}parametrizations.{name}.original{i}"
                state_dict[new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


# --- spectral normalization -----------------------------------------------------------------------


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        rank = weight.dim()
        if not -rank <= dim < rank:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{rank}, {rank - 1}] but got "
                f"{dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % rank
        self.eps = eps
        if rank > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            u, v = (matrix.new_empty(n).normal_(0, 1) for n in matrix.shape)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, times: int) -> None:
        """Moves u and v nearer to the singular vectors of the largest singular value, in place."""
        for _ in range(times):
            F.normalize(lazyt.mv(matrix, self._v), dim=0, eps=self.eps, out=self._u)
            F.normalize(lazyt.mv(matrix.t(), self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Copies: another call in training writes the buffers before a backward.
        u, v = self._u.clone(), self._v.clone()
        return weight / lazyt.vdot(u, lazyt.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """A parameter over its largest singular value, found by power iteration."""
    weight = _tensor_of(module, name)
    if dim is None:
        dim = default_dim(module)
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )


# --- orthogonal matrices --------------------------------------------------------------------------


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _exponential(a: Tensor) -> Tensor:
    """The matrix exponential, by Taylor's series of a 2^-s-th part squared s times.

    The norm is read, to choose s (Higham 2008, section 10.3).
    """
    norm = float(a.detach().abs().sum(-2).max())
    times = max(0, math.ceil(math.log2(norm / 0.25))) if norm > 0 else 0
    part = a / 2.0**times
    eye = lazyt.eye(a.size(-1), dtype=a.dtype, device=a.device)
    power = eye
    for k in range(14, 0, -1):
        power = eye + part @ power / k
    for _ in range(times):
        power = power @ power
    return power


def _reflected(vectors: Tensor, factors: Tensor) -> Tensor:
    """The product of the reflections 1 - factor v v', v a column of (n, k) below a one: (n, k)."""
    eye = lazyt.eye(*vectors.shape[-2:], dtype=vectors.dtype, device=vectors.device)
    product, columns = eye.expand(vectors.shape), vectors.tril(-1) + eye
    for i in reversed(range(vectors.size(-1))):
        v = columns[..., i : i + 1]
        product = product - factors[..., i, None, None] * (v @ (v.mT @ product))
    return product


def _like(array: np.ndarray, like: Tensor) -> Tensor:
    made = np.ascontiguousarray(array)
    return lazyt.from_numpy(made).to(dtype=like.dtype, device=like.device)


def _orthonormal(matrix: Tensor) -> Tensor:
    """Orthonormal columns that span those of (n, k), each on its own column's side."""
    q, r = np.linalg.qr(matrix.detach().cpu().numpy())
    return _like(q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :], matrix)


def _is_orthonormal(q: Tensor) -> bool:
    eye = lazyt.eye(q.size(-1), dtype=q.dtype, device=q.device)
    return lazyt.allclose(q.mT @ q, eye, atol=10.0 * q.size(-2) * lazyt.finfo(q.dtype).eps)


class _Orthogonal(Module):
    """Matrices with orthonormal columns (or rows), of a parameter in the same shape.

    With trivialization (Lezcano-Casado 2019) `base` is the matrix that was there, and the parameter
    says how the result is turned away from it.
    """

    base: Tensor

    def __init__(
        self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True
    ) -> None:
        super().__init__()
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        x = X.mT if wide else X
        if self.orthogonal_map is _OrthMaps.householder:
            below = x.tril(-1)
            q = _reflected(below, 2.0 / (1.0 + (below * below).sum(-2)))
            q = q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            q = self._rotation(x)[..., : x.size(-1)]
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _rotation(self, x: Tensor) -> Tensor:
        """The rotation (n, n) of a skew matrix whose lower triangle is that of (n, k)."""
        n, k = x.size(-2), x.size(-1)
        lower = x.tril()
        if n != k:
            lower = lazyt.cat([lower, x.new_zeros(n, n - k).expand(*x.shape[:-2], -1, -1)], -1)
        skew = lower - lower.mT
        if self.orthogonal_map is _OrthMaps.matrix_exp:
            return _exponential(skew)
        eye = lazyt.eye(n, dtype=x.dtype, device=x.device)
        return lazyt.linalg.inv(eye - 0.5 * skew) @ (eye + 0.5 * skew)

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {Q.shape}."
            )
        wide = Q.size(-2) < Q.size(-1)
        q = Q.mT if wide else Q
        n, k = q.size(-2), q.size(-1)
        if not hasattr(self, "base"):
            return self._reflectors(q, wide)
        if n != k:
            more = lazyt.randn(*q.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
            self.base = _orthonormal(lazyt.cat([q, more], -1))
        else:
            self.base = q.clone() if _is_orthonormal(q) else _orthonormal(q)
        start = lazyt.zeros_like(Q)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start

    def _reflectors(self, q: Tensor, wide: bool) -> Tensor:
        """The reflections whose product has the columns of `q`, signs on the diagonal."""
        if self.orthogonal_map is not _OrthMaps.householder:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        raw, factors = np.linalg.qr(q.detach().cpu().numpy(), mode="raw")
        a = raw.swapaxes(-2, -1).copy()
        at = np.arange(a.shape[-1])
        signs = np.sign(a[..., at, at])
        a[..., at, at] = np.where(factors == 0, -signs, signs)
        return _like(a.swapaxes(-2, -1) if wide else a, q)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """A matrix with orthonormal columns, or rows if it is wide.

    orthogonal_map: "matrix_exp" (of square ones if None), "cayley" or "householder". Errors:
    ValueError for a name that is none, a tensor below 2-D and another map.
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square else "householder"
    chosen = getattr(_OrthMaps, orthogonal_map, None)
    if chosen is None:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    made = _Orthogonal(weight, chosen, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
