"""Which primitives compute with complex numbers. All others refuse them.

Whatever asks "is it a float, else it is an integer" would be wrong about a complex number, and
silently so. The question is therefore asked once, where a primitive is applied, from the moment on
at which the first complex type is made; programs without complex numbers never pay for it.

    floor(z)        NotImplementedError: floor is not supported for complex inputs
    cast(z, int64)  the same: only an explicit conversion drops the imaginary part

Numbers among the operands of a node are real. A complex one is a tensor of no dimensions
(`ops_constant.complex_number`).
"""

from __future__ import annotations

from .node import LOCAL, Node
from .opdef import REFUSING, Op

ARITHMETIC = "add sub mul div neg pow reciprocal sum prod cumsum cumprod matmul"
FUNCTIONS = "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sigmoid"
FUNCTIONS += " sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh"
TESTS = "eq ne isnan isinf isfinite"
PARTS = "real imag conj modulus"
MOVES = "full data cast where copy transfer strided_update strided_add flip cat pad tile roll tril"
MOVES += " triu repeat_each affine_pick gather scatter scatter_add index index_put"
TAKES = frozenset(f"{ARITHMETIC} {FUNCTIONS} {TESTS} {PARTS} {MOVES}".split())

# PyTorch's kernels, as its errors name them, of primitives that are called otherwise here.
KERNELS = {
    "lt": "lt_cpu",
    "le": "le_cpu",
    "gt": "gt_cpu",
    "ge": "ge_cpu",
    "floor_div": "div_floor_cpu",
    "trunc_div": "div_trunc_cpu",
    "remainder": "remainder_cpu",
    "fmod": "fmod_cpu",
    "atan2": "atan2_cpu",
    "erf": "erf_vml_cpu",
    "erfc": "erfc_vml_cpu",
    "erfinv": "erfinv_vml_cpu",
    "round": "round_vml_cpu",
    "bitwise_and": "bitwise_and_cpu",
    "bitwise_or": "bitwise_or_cpu",
    "bitwise_xor": "bitwise_xor_cpu",
    "bitwise_not": "bitwise_not_cpu",
    "amax_whole": "max_all",
    "amin_whole": "min_all",
    "amax": "max_values_cpu",
    "amin": "min_values_cpu",
    "median": "median_cpu",
    "median_value": "median_cpu",
    "softmax": "softmax_lastdim_kernel_impl",
    "log_softmax": "log_softmax_lastdim_kernel_impl",
    "cummax": "cummax_cpu",
    "cummin": "cummin_cpu",
    "histogram": "aminmax_cpu",
}
NAMES = {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}
# What PyTorch says in words of its own: the type of the error, and its text.
WORDS: dict[str, tuple[type[Exception], str]] = {
    "maximum": (RuntimeError, "maximum not implemented for complex tensors."),
    "minimum": (RuntimeError, "minimum not implemented for complex tensors."),
    "max_with_index": (RuntimeError, "max(): does not support complex input"),
    "min_with_index": (RuntimeError, "min(): does not support complex input"),
    "argmax": (RuntimeError, "argmax(): does not support complex input"),
    "argmin": (RuntimeError, "argmin(): does not support complex input"),
    "sort": (RuntimeError, " Sort does not support complex dtypes on CPU"),
    "topk": (RuntimeError, " topk does not support complex dtypes on CPU"),
    "sign": (
        NotImplementedError,
        "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn "
        "instead.",
    ),
    "signbit": (NotImplementedError, "signbit is not implemented for complex tensors."),
}
WORDS |= {
    name: (NotImplementedError, f"{name} is not supported for complex inputs")
    for name in ("floor", "ceil", "trunc")
}
WORDS |= dict.fromkeys(
    ("relu", "clamp_min", "clamp_max"),
    (NotImplementedError, "clamp is not supported for complex types"),
)


def refuse(op: Op, src: tuple) -> None:
    """NotImplementedError (RuntimeError where PyTorch raises that) for complex operands if the
    primitive is not for them, or a gradient would have to flow back through it."""
    for s in src:
        if s.__class__ is Node and s.type.__class__ is not tuple and s.type.dtype.is_complex:
            if op.name not in TAKES and not op.view:
                raise refusal(op.name, s.type.dtype.name)
            if s.grad and LOCAL.grad:
                raise NotImplementedError(NO_GRADIENT)


NO_GRADIENT = "gradients through complex tensors are missing"


def refusal(name: str, dtype: str) -> Exception:
    """The error of a primitive for operands of a complex dtype."""
    if name in WORDS:
        kind, text = WORDS[name]
        return kind(text)
    if name in KERNELS:
        return NotImplementedError(f"\"{KERNELS[name]}\" not implemented for '{NAMES[dtype]}'")
    return NotImplementedError(f"{name} is not implemented for complex tensors")


def check_gradient(x: Node) -> None:
    """NotImplementedError where a gradient would have to flow back from a complex result."""
    if x.grad and LOCAL.grad:
        raise NotImplementedError(NO_GRADIENT)


def watch() -> None:
    """From now on primitives are asked whether they take complex numbers."""
    if not REFUSING:
        REFUSING.append(refuse)
