"""MultiheadAttention: attention of several heads with learned projections (Vaswani et al. 2017)."""

from __future__ import annotations

from typing import Any

from lazyt.backends import mha
from lazyt.functions.creation import empty
from lazyt.gradmode import is_grad_enabled
from lazyt.nn import functional as F
from lazyt.nn import init
from lazyt.nn.functional.multihead import canonical_mask, none_or_dtype
from lazyt.nn.module import Module
from lazyt.parameter import Parameter
from lazyt.tensor import Tensor

from .linear import NonDynamicallyQuantizableLinear


class MultiheadAttention(Module):
    """Attention of `num_heads` heads, each of embed_dim / num_heads features.

    Parameters are in_proj_weight (3 * embed_dim, embed_dim), or where keys or values are of another
    width (kdim, vdim) q_proj_weight, k_proj_weight and v_proj_weight; in_proj_bias; out_proj; and
    with `add_bias_kv` bias_k and bias_v (1, 1, embed_dim), one more key and its value.

    Errors: ValueError for sizes that are not positive, AssertionError unless num_heads divides
    embed_dim.
    """

    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def parameter(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        one = self._qkv_same_embed_dim
        if not one:
            widths = {"q": embed_dim, "k": self.kdim, "v": self.vdim}
            for name, width in widths.items():
                self.register_parameter(f"{name}_proj_weight", parameter(embed_dim, width))
        packed = parameter(3 * embed_dim, embed_dim) if one else None
        self.register_parameter("in_proj_weight", packed)
        if one:
            for name in "qkv":
                self.register_parameter(f"{name}_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        self.bias_k = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draws new initial values."""
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            weight = getattr(self, name)
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `F.multi_head_attention_forward`; with `batch_first` the batch comes before the steps.

        A row in which no key counts is nan if weights are needed, else zeros; nan, too, where
        PyTorch takes its shorter way of inference (`torch.backends.mha`).
        """
        batched = query.dim() == 3
        key_padding_mask = canonical_mask(
            key_padding_mask, "key_padding_mask", none_or_dtype(attn_mask), "attn_mask", query.dtype
        )
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        short = self._takes_short_way(query, key, value)
        if short:
            is_causal = False  # the mask alone says what counts there
        swapped = self.batch_first and batched
        if swapped:
            query, key, value = _time_first(query, key, value)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights or short,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        if swapped:
            output = output.transpose(1, 0)
        if short:
            output = output.contiguous()
        return output, weights if need_weights else None

    def _takes_short_way(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        """Whether PyTorch would use the kernel it has for attention of a tensor to itself."""
        plain = query is key and key is value and query.dim() == 3 and self.batch_first
        if not plain or self.training or self.num_heads % 2 or not mha.get_fastpath_enabled():
            return False
        biases = self.in_proj_bias is not None and self.bias_k is None and self.bias_v is None
        if not biases or self.add_zero_attn or not self._qkv_same_embed_dim:
            return False
        if query.dtype != self.in_proj_weight.dtype:
            return False
        return not is_grad_enabled() or not (
            query.requires_grad or any(p.requires_grad for p in self.parameters())
        )

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one, and PyTorch's number for its kind: 1 for key_padding_mask alone, 2 for
        one of (batch, heads, steps, keys), None for none."""
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, steps, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, steps, steps)
        else:
            merged = attn_mask.view(1, 1, steps, steps).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            merged = merged + key_padding_mask.view(batch, 1, 1, steps)
        return merged, 2


def _time_first(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first two dimensions exchanged; what was one tensor is one still."""
    q = query.transpose(1, 0)
    k = q if key is query else key.transpose(1, 0)
    return q, k, k if value is key else value.transpose(1, 0)
