"""Which operations autocast runs in which precision, on which device.

Every operation that PyTorch 2.13 registers for autocast stands here under its name there, in the
list of its policy; what is not listed runs in the precision of its operands. The lists are those of
https://docs.pytorch.org/docs/2.13/amp.html#autocast-op-reference (and of ATen/autocast_mode.h):

    lower      float operands become the lower precision: products and convolutions
    float32    operands of lower precision become float32: losses, logarithms, large sums
    out32      the result is asked for in float32, by its `dtype` argument
    widest     operands of several precisions become the widest of them
    refused    raises: its gradient would leave the range of float16
    framed     as float32, but only for frames that repeat what is there
    recurrent  as lower, but a GRU on the CPU, which goes by its input

Where a composition of PyTorch calls a listed operation and ours does not, it is listed with it
(`COMPOSED`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

__all__ = ["COMPOSED", "LISTS", "functions_named", "policies"]

_LOSSES = """
    binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss huber_loss kl_div
    l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss
    poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
_PRODUCTS = """
    addbmm addmm baddbmm bmm conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d
    conv_transpose3d linalg_vecdot linear matmul mm prelu scaled_dot_product_attention
"""
_FFT = """
    fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2
    fft_irfftn fft_rfft fft_rfft2 fft_rfftn stft
"""
_DECOMPOSITIONS = """
    cholesky cholesky_inverse cholesky_solve geqrf inverse linalg_cholesky linalg_cholesky_ex
    linalg_cond linalg_eig linalg_eigh linalg_eigvals linalg_eigvalsh linalg_householder_product
    linalg_inv linalg_inv_ex linalg_lstsq linalg_matrix_rank linalg_qr linalg_solve linalg_svd
    linalg_svdvals linalg_tensorinv linalg_tensorsolve lu_solve orgqr ormqr pinverse qr svd
    triangular_solve
"""
_PADDINGS_AND_POOLS = """
    adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d fractional_max_pool2d fractional_max_pool3d
    grid_sampler grid_sampler_2d grid_sampler_3d max_pool3d max_unpool2d max_unpool3d
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d replication_pad3d
"""
_UPSAMPLING = """
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d
"""

# By device type and policy.
LISTS: dict[str, dict[str, tuple[str, ...]]] = {
    device: {policy: tuple(names.split()) for policy, names in lists.items()}
    for device, lists in {
        "cpu": {
            "lower": _PRODUCTS,
            "float32": f"""
                {_LOSSES} {_FFT} {_DECOMPOSITIONS} {_PADDINGS_AND_POOLS}
                binary_cross_entropy cdist cross_entropy_loss ctc_loss
                fake_quantize_per_tensor_affine nanquantile polar prod quantile trace
                view_as_complex
            """,
            "widest": "cat index_copy stack",
        },
        "cuda": {
            "lower": f"""
                {_PRODUCTS} addmv addr chain_matmul convolution einsum gru_cell linalg_multi_dot
                lstm_cell mv rnn_relu_cell rnn_tanh_cell
            """,
            "float32": f"""
                {_LOSSES} {_UPSAMPLING}
                acos asin cdist cosh cosine_similarity dist erfinv exp expm1 group_norm layer_norm
                log log10 log1p log2 logsumexp native_layer_norm nuclear_norm pdist pow reciprocal
                renorm rms_norm rsqrt sinh softplus tan
            """,
            "out32": """
                cumprod cumsum linalg_matrix_norm linalg_vector_norm log_softmax norm prod softmax
                sum
            """,
            "widest": """
                addcdiv addcmul atan2 bilinear cross dot grid_sampler index_put scatter_add
                tensordot vdot
            """,
            "refused": "binary_cross_entropy",
        },
    }.items()
}

# Names here that are no operations of PyTorch's: functions of its Python layer, or compositions.
COMPOSED: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu": {
        "lower": ("chain_matmul", "linalg_matrix_power", "linalg_multi_dot", "_contraction"),
        "float32": ("cross_entropy", "linalg_pinv", "linalg_lu_solve", "grid_sample"),
        "framed": ("pad",),
        "recurrent": ("_recurrence",),
    },
    "cuda": {
        "lower": ("linalg_matrix_power", "_contraction"),
        "float32": ("cross_entropy", "square", "grid_sample", "pairwise_distance"),
        "out32": ("softmin",),
        "recurrent": ("_recurrence",),
    },
}

# Where a function goes by an operator as well.
_OPERATORS = {
    "matmul": ("__matmul__", "__rmatmul__"),
    "pow": ("__pow__", "__rpow__"),
    "reciprocal": ("__rtruediv__", "__rdiv__"),
}


def policies(device: str) -> Iterator[tuple[str, str]]:
    """The listed names of a device type, each with its policy."""
    for lists in (LISTS[device], COMPOSED[device]):
        for policy, names in lists.items():
            for name in names:
                yield name, policy


def functions_named(name: str) -> list[FunctionType]:
    """Every function that goes by a listed name: in `torch`, `torch.nn.functional` or
    `torch.linalg`, as a method, as an operator. Empty where there is none yet."""
    from lazyt import linalg
    from lazyt.functions import contraction
    from lazyt.nn import functional
    from lazyt.nn.functional import recurrent
    from lazyt.registry import FUNCTIONS
    from lazyt.tensor import Tensor

    if name == "_contraction":  # the products that einsum and tensordot are made of
        return [contraction.inner_product, contraction.inner_products]  # type: ignore[list-item]
    if name == "_recurrence":  # the layers of nn.RNN, nn.LSTM and nn.GRU
        return [recurrent.recurrence]  # type: ignore[list-item]
    family, _, rest = name.partition("_")
    places: Iterable[Any] = (
        FUNCTIONS.get(name),
        getattr(linalg, rest, None) if family == "linalg" else None,
        getattr(functional, name, None),
        *(vars(Tensor).get(method) for method in (name, *_OPERATORS.get(name, ()))),
    )
    found: dict[int, Callable[..., Any]] = {
        id(place): place for place in places if isinstance(place, FunctionType)
    }
    return list(found.values())  # type: ignore[arg-type]
