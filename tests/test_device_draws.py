"""Draws by counting: Philox's published answers, its forms against each other, distributions."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graph_tools import evaluated, inputs_of, leaf_of, tracing
from test_cuda_kernels import compiled_by_nvcc, needs_nvcc

import lazyt
from lazyt.codegen.grouping import loop_nests
from lazyt.codegen.launches import CudaKernel
from lazyt.codegen.source import generate
from lazyt.functions import device_draws as draws
from lazyt.functions.device_draws import Stream
from lazyt.ir import dtypes
from lazyt.ir.dtypes import DType, float32, float64, int64
from lazyt.ir.node import Node
from lazyt.ir.numerics.random import philox, philox_words, unsigned_remainder
from lazyt.ir.ops_device import transfer
from lazyt.ir.ops_elementwise import mul
from lazyt.ir.passes.pipeline import optimize
from lazyt.ir.types import TensorType
from lazyt.runtime import native
from lazyt.runtime.cuda.host import build
from lazyt.runtime.cuda.host.build import compile_host
from lazyt.runtime.cuda.host.launch import HostModule
from lazyt.runtime.philox import PhiloxGenerator
from lazyt.runtime.plan import build_graph

ONES = 0xFFFFFFFF
# Random123 1.14.0, tests/kat_vectors: philox4x32 10; counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
COUNT = 1 << 16


def of(dtype: DType, *shape: int) -> TensorType:
    return TensorType.of(shape or (COUNT,), dtype)


def values(draw: Callable[[Stream], Node], seed: int = 0) -> np.ndarray:
    """What a draw of a fresh generator gives, evaluated operation by operation."""
    return values_of(draw, PhiloxGenerator(seed))


def values_of(draw: Callable[[Stream], Node], generator: PhiloxGenerator) -> np.ndarray:
    with tracing() as trace:
        node = draw(Stream(generator))
    with np.errstate(all="ignore"):
        return np.asarray(evaluated(trace, {})[node])


# --- bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: tuple, key: tuple, expected: tuple) -> None:
    words = philox_words(tuple(np.array([c], np.uint64) for c in counter), key)
    assert tuple(int(w[0]) for w in words) == expected
    block = np.array([counter[2] | counter[3] << 32], np.uint64).view(np.int64)
    found = philox(block, np.arange(4), *key, *counter[:2])
    assert tuple(found.tolist()) == expected


def some_words() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    edges = np.array([0, 1, -1, 1 << 32, (1 << 63) - 1, -(1 << 63)])
    blocks = np.concatenate([edges, rng.integers(-(1 << 63), 1 << 63, 994)])
    return blocks, rng.integers(0, 1 << 62, 1000)


HALVES = (0xDEADBEEF, 0x12345678, ONES, 0x80000000)


@pytest.mark.skipif(native.compiler() is None, reason="needs a C compiler")
def test_the_c_form_gives_the_same_bits(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    blocks, words = some_words()
    source = native.prelude() + (
        "void words(const int64_t *b, const int64_t *w, int64_t *y, int64_t *z, int64_t n)\n{\n"
        "    for (int64_t i = 0; i < n; i++) {\n"
        f"        y[i] = lz_philox(b[i], w[i], {', '.join(f'{h}LL' for h in HALVES)});\n"
        "        z[i] = lz_unsigned_remainder(b[i], 0x9E3779B9LL, 0xC0000000LL);\n    }\n}\n"
    )
    native.compile_shared(source, tmp_path / "words.so")
    library = ctypes.CDLL(str(tmp_path / "words.so"))
    y, z = np.empty_like(blocks), np.empty_like(blocks)
    library.words(*(a.ctypes.data_as(ctypes.c_void_p) for a in (blocks, words, y, z)), 1000)
    assert (y == philox(blocks, words, *HALVES)).all()
    assert (z == unsigned_remainder(blocks, 0x9E3779B9, 0xC0000000)).all()


@pytest.mark.skipif(build.cpp_compiler() is None, reason="needs a C++ compiler")
def test_the_cuda_form_gives_the_same_bits() -> None:
    blocks, words = some_words()
    text = (build.HERE.parents[2] / "codegen" / "prelude" / "random.h").read_text()
    source = text + (
        'extern "C" __global__ void words(const int64_t *b, const int64_t *w, int64_t *y, int n)\n'
        "{\n    int i = blockIdx.x * blockDim.x + threadIdx.x;\n    if (i < n)\n"
        f"        y[i] = lz_philox(b[i], w[i], {', '.join(f'{h}LL' for h in HALVES)});\n}}\n"
    )
    y = np.empty_like(blocks)
    HostModule(compile_host(source)).launch("words", 4, 256, (blocks, words, y, 1000))
    assert (y == philox(blocks, words, *HALVES)).all()


def test_unsigned_remainders() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-(1 << 63), 1 << 63, 200)
    for divisor in (1, 10, (1 << 32) - 1, 1 << 32, (1 << 63) + 12345, (1 << 64) - 1):
        found = unsigned_remainder(x, divisor % (1 << 32), divisor >> 32)
        assert [n % (1 << 64) for n in found.tolist()] == [
            n % (1 << 64) % divisor for n in x.tolist()
        ]


def test_bits_have_a_dtype() -> None:
    with pytest.raises(TypeError, match="random bits are int64, not float32"), tracing():
        draws.philox(draws.full((2,), 1.0, float32), 0, 0, 0, 0, 0)


# --- the generator --------------------------------------------------------------------------------


def test_generator_state() -> None:
    g = PhiloxGenerator()
    assert g.initial_seed() == 67280421310721 and g.get_offset() == 0
    assert g.manual_seed(-1).initial_seed() == (1 << 64) - 1
    assert g.take() == (ONES, ONES, 0, 0)
    assert g.take() == (ONES, ONES, 1, 0)
    state = g.get_state()
    assert state.dtype == np.uint8 and state.tolist() == [255] * 8 + [8, 0, 0, 0, 0, 0, 0, 0]
    other = PhiloxGenerator(3).set_state(state)
    assert other.take() == g.take() == (ONES, ONES, 2, 0)
    assert other.set_offset(1 << 40).take() == (ONES, ONES, 0, 1 << 6)
    assert other.set_state(state[:8]).get_offset() == 0
    g.manual_seed(5)
    assert (g.initial_seed(), g.get_offset()) == (5, 0)
    assert g.seed() == g.initial_seed()


def test_generators_are_copied_with_their_state() -> None:
    g = PhiloxGenerator(5).set_offset(12)
    for other in (g.clone(), pickle.loads(pickle.dumps(g))):
        assert other.take() == (5, 0, 3, 0)
    assert g.get_offset() == 12


def test_elements_are_counted_in_the_order_of_memory() -> None:
    """The draw of a transposed tensor is that of its base, transposed."""
    base = values(lambda g: draws.uniform(g, of(float32, 3, 4, 5)))
    lying = values(lambda g: draws.uniform(Stream(g.generator, (1, 2, 0)), of(float32, 5, 3, 4)))
    assert (lying == base.transpose(2, 0, 1)).all()


def test_generator_refuses() -> None:
    g = PhiloxGenerator()
    with pytest.raises(RuntimeError, match="offset must be a multiple of 4"):
        g.set_offset(6)
    with pytest.raises(RuntimeError, match="RNG state is wrong size"):
        g.set_state(np.zeros(12, np.uint8))
    with pytest.raises(TypeError, match="RNG state must be a torch.ByteTensor"):
        g.set_state(np.zeros(16, np.int8))
    with pytest.raises(RuntimeError, match="expected a long"):
        g.manual_seed(1.5)  # type: ignore[arg-type]


def test_state_is_torch_s(oracle: Any) -> None:
    """The layout of `torch.cuda`'s generators (c10's CUDAGeneratorImpl): PyTorch has no Philox
    generator on the CPU to ask, so the bytes stand here."""
    g = PhiloxGenerator(0x0102030405060708).set_offset(4)
    assert g.get_state().tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 4, 0, 0, 0, 0, 0, 0, 0]
    assert oracle.Generator().manual_seed(-1).initial_seed() == (1 << 64) - 1


# --- streams --------------------------------------------------------------------------------------

DISTRIBUTIONS: dict[str, Callable[[Stream], Node]] = {
    "uniform": lambda g: draws.uniform(g, of(float32)),
    "uniform_double": lambda g: draws.uniform(g, of(float64)),
    "between": lambda g: draws.uniform(g, of(float32), -2.0, 5.0),
    "normal": lambda g: draws.normal(g, of(float32)),
    "normal_double": lambda g: draws.normal(g, of(float64)),
    "normal_of": lambda g: draws.normal(g, of(float64), 3.0, 0.5),
    "log_normal": lambda g: draws.log_normal(g, of(float64), 0.5, 0.25),
    "exponential": lambda g: draws.exponential(g, of(float32), 2.0),
    "exponential_double": lambda g: draws.exponential(g, of(float64)),
    "cauchy": lambda g: draws.cauchy(g, of(float64), 1.0, 2.0),
    "geometric": lambda g: draws.geometric(g, of(float32), 0.3),
    "bernoulli": lambda g: draws.bernoulli(g, of(float32), 0.3),
    "integers": lambda g: draws.integers(g, of(int64), -7, 93),
    "wide_integers": lambda g: draws.integers(g, of(int64), -(1 << 40), 3 << 40),
    "all_integers": lambda g: draws.integers(g, of(int64), -(1 << 63), 1 << 63),
    "permutation": lambda g: draws.permutation(g, of(int64, 1000)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_draws_differ_and_come_again(name: str) -> None:
    """A draw moves the generator by one block, whatever its size; a state gives it again."""
    draw = DISTRIBUTIONS[name]
    generator = PhiloxGenerator(11)
    first = values_of(draw, generator)
    assert generator.get_offset() == 4
    second = values_of(draw, generator)
    assert (first != second).any()
    generator.set_offset(4)
    assert (values_of(draw, generator) == second).all()
    assert (values(draw, 12) != first).any()


def test_no_counter_is_used_twice() -> None:
    """Every element's words of every draw, of several sizes and types, are words of their own."""
    generator = PhiloxGenerator(0)
    seen: set[tuple[int, int, int]] = set()
    for shift, per_element in ((2, 1), (1, 2)):
        for n in (1, 5, 8, 31):
            offset = generator.get_offset() // 4
            values_of(lambda g, n=n: draws.uniform(g, of(float32, n)), generator)
            index = np.arange(n)
            for k in range(per_element):
                words = index & 3 if shift == 2 else 2 * (index & 1) + k
                used = {(offset, int(b), int(w)) for b, w in zip(index >> shift, words)}
                assert len(used) == n and not used & seen
                seen |= used


def test_uniforms_are_the_words() -> None:
    """float32: 24 bits of word i mod 4 of block i // 4; float64: 53 bits of two of block i // 2."""
    found = values(lambda g: draws.uniform(g, of(float32, 2, 5)), 9).reshape(-1)
    i = np.arange(10)
    bits = philox(i >> 2, i, 9, 0, 0, 0)
    assert found.tolist() == ((bits & 0xFFFFFF) / 2**24).tolist()
    wide = values(lambda g: draws.uniform(g, of(float64, 2, 5)), 9).reshape(-1)
    high, low = (philox(i >> 1, 2 * i + k, 9, 0, 0, 0) for k in (0, 1))
    assert wide.tolist() == (((high & 0x1FFFFF) * 2.0**32 + low) / 2**53).tolist()


# --- distributions --------------------------------------------------------------------------------


def erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x])


PHI = lambda x: 0.5 * (1 + erf(x / math.sqrt(2)))
CDFS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "uniform": lambda x: x,
    "uniform_double": lambda x: x,
    "between": lambda x: (x + 2) / 7,
    "normal": PHI,
    "normal_double": PHI,
    "normal_of": lambda x: PHI((x - 3) / 0.5),
    "log_normal": lambda x: PHI((np.log(x) - 0.5) / 0.25),
    "exponential": lambda x: 1 - np.exp(-2 * x),
    "exponential_double": lambda x: 1 - np.exp(-x),
    "cauchy": lambda x: 0.5 + np.arctan((x - 1) / 2) / math.pi,
    "wide_integers": lambda x: (x + 0.5 + 2.0**40) / 2.0**42,
    "all_integers": lambda x: (x + 0.5 + 2.0**63) / 2.0**64,
}


@pytest.mark.parametrize("name", CDFS)
@pytest.mark.parametrize("seed", [0, 1])
def test_distributions(name: str, seed: int) -> None:
    """Kolmogorov and Smirnov: the distance to the exact distribution, at the level of 0.1 %; and no
    correlation of neighbours, which share a block (normal: a radius)."""
    found = values(DISTRIBUTIONS[name], seed).astype(np.float64)
    cdf = CDFS[name](np.sort(found))
    steps = np.arange(COUNT) / COUNT
    distance = max((cdf - steps).max(), (steps + 1 / COUNT - cdf).max())
    assert distance * math.sqrt(COUNT) < 1.95
    u = CDFS[name](found) - 0.5
    for lag in (1, 2, 3, 4):
        assert abs((u[:-lag] * u[lag:]).mean()) * 12 * math.sqrt(COUNT) < 3.3, lag


def test_normals_of_a_pair_are_independent() -> None:
    for dtype in (float32, float64):
        z = values(lambda g, dtype=dtype: draws.normal(g, of(dtype)), 3).astype(np.float64)
        assert abs(z.mean()) < 4 / math.sqrt(COUNT) and abs(z.var() - 1) < 4 * math.sqrt(2 / COUNT)
        even, odd = z[::2], z[1::2]
        assert abs((even * odd).mean()) < 4 / math.sqrt(COUNT / 2)
        assert abs(((even**2 - 1) * (odd**2 - 1)).mean()) < 8 / math.sqrt(COUNT / 2)


def test_counts() -> None:
    """Chi-square of what has few values, below 99.9 % of its distribution (nearly normal)."""
    ints = values(DISTRIBUTIONS["integers"])
    assert ints.min() == -7 and ints.max() == 92
    counts = np.bincount(ints + 7, minlength=100)
    assert ((counts - COUNT / 100) ** 2 / (COUNT / 100)).sum() < 99 + 3.3 * math.sqrt(2 * 99)
    ones = values(DISTRIBUTIONS["bernoulli"])
    assert set(np.unique(ones)) == {0.0, 1.0}
    assert abs(ones.mean() - 0.3) < 3.3 * math.sqrt(0.21 / COUNT)
    trials = values(DISTRIBUTIONS["geometric"])
    assert trials.min() == 1 and abs(trials.mean() - 1 / 0.3) < 3.3 * math.sqrt(0.7 / 0.09 / COUNT)
    order = values(DISTRIBUTIONS["permutation"])
    assert sorted(order.tolist()) == list(range(1000))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 3.3 / math.sqrt(1000)


@pytest.mark.parametrize("dtype", [dtypes.float16, dtypes.bfloat16, float32, float64])
def test_ranges_are_kept(dtype: DType) -> None:
    u = values(lambda g: draws.uniform(g, of(dtype)))
    assert u.min() >= 0 and u.max() < 1
    narrow = values(lambda g: draws.uniform(g, of(dtype), 1.0, 1.0 + 2.0**-6))
    assert narrow.min() >= 1 and narrow.max() < 1 + 2.0**-6
    assert values(lambda g: draws.exponential(g, of(dtype))).min() > 0
    assert np.isfinite(values(lambda g: draws.normal(g, of(dtype)))).all()


def test_ends() -> None:
    one = lambda p: values(lambda g: draws.bernoulli(g, of(dtypes.bool_), p))
    assert one(1.0).all() and not one(0.0).any()
    assert values(lambda g: draws.integers(g, of(int64), 5, 6)).tolist() == [5] * COUNT
    assert values(lambda g: draws.uniform(g, of(float32, 0, 3))).shape == (0, 3)
    assert values(lambda g: draws.uniform(g, TensorType.of((), float32))).shape == ()
    for low, high in ((-(1 << 63), (1 << 63) - 1), (-(1 << 62) - 3, (1 << 63)), (1, 1 << 63)):
        found = values(lambda g, low=low, high=high: draws.integers(g, of(int64), low, high))
        assert low <= int(found.min()) < low + (high - low) // 1000
        assert high - (high - low) // 1000 < int(found.max()) < high


def test_own_probabilities() -> None:
    p = np.linspace(0, 1, COUNT, dtype=np.float32)

    def draw(g: Stream) -> Node:
        given = mul(draws.cast(g.index(of(int64)), float32), 1 / (COUNT - 1))
        return draws.bernoulli(g, of(float32), given)

    found = values(draw)
    for part, expected in zip(np.split(found, 8), np.split(p, 8)):
        assert abs(part.mean() - expected.mean()) < 3.3 * 0.5 / math.sqrt(COUNT / 8)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda g: draws.uniform(g, of(float32), 2.0, 1.0), r"found from=2 > to=1"),
        (lambda g: draws.normal(g, of(float32), 0.0, -1.0), "normal expects std >= 0.0"),
        (lambda g: draws.exponential(g, of(float32), 0.0), "exponential_ expects lambda > 0.0"),
        (lambda g: draws.cauchy(g, of(float32), 0.0, 0.0), "cauchy_ expects sigma > 0.0"),
        (lambda g: draws.geometric(g, of(float32), 1.0), r"geometric_ expects p to be in \(0, 1\)"),
        (lambda g: draws.bernoulli(g, of(float32), 1.5), r"bernoulli_ expects p to be in \[0, 1\]"),
        (lambda g: draws.integers(g, of(int64), 3, 3), "got from=3 >= to=3"),
        (lambda g: draws.exponential(g, of(int64)), "Exponential distribution is a continuous"),
        (lambda g: draws.log_normal(g, of(float32), 0.0, 0.0), "log_normal_ expects std > 0.0"),
    ],
)
def test_wrong_arguments_draw_nothing(draw: Callable, message: str) -> None:
    generator = PhiloxGenerator(0)
    with pytest.raises(RuntimeError, match=message), tracing():
        draw(Stream(generator))
    assert generator.get_offset() == 0


# --- in plans -------------------------------------------------------------------------------------


def traced_step(name: str, generator: PhiloxGenerator) -> np.ndarray:
    """A draw through the frontend's own way: traced, drained, planned from the second time on."""
    from lazyt.dispatch import wrap

    return np.array(wrap(DISTRIBUTIONS[name](Stream(generator))).numpy())


@pytest.mark.parametrize("name", [n for n in DISTRIBUTIONS if n != "permutation"])
@pytest.mark.parametrize("tier", ["numpy", "c"])
def test_plans_draw_the_same(name: str, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third draw is a plan's, with another offset as a run-time number. Integers and uniforms
    are the same bits; the C tier's logarithms and sines are its own."""
    from lazyt.runtime import drain

    if tier == "c" and native.compiler() is None:
        pytest.skip("needs a C compiler")
    monkeypatch.setenv("LAZYT_CPU", tier)
    drain.drain()
    drain.clear_plans()
    seed = 0xFEDCBA9876543210
    made, expected = (
        PhiloxGenerator(seed).set_offset(1 << 36),
        PhiloxGenerator(seed).set_offset(1 << 36),
    )
    exact = name in ("uniform", "uniform_double", "bernoulli") or "integers" in name
    before = lazyt.stats()["misses"]
    for _ in range(4):
        found = traced_step(name, made)
        right = values_of(DISTRIBUTIONS[name], expected)
        if exact:
            assert (found == right).all()
        else:
            close = np.isclose(found, right, rtol=1e-4, atol=1e-5)
            assert close.mean() > 0.9999
    assert lazyt.stats()["misses"] == before + 1  # offsets are run-time numbers from the start


def test_a_draw_fuses_into_its_reader() -> None:
    """Dropout: the mask, its scale and the product are one loop nest that reads `x` alone."""
    from lazyt.dispatch import wrap
    from lazyt.inspect.program import ProgramView

    x = lazyt.ones(64, 48)
    generator = PhiloxGenerator(1)

    def step() -> Any:
        kept = wrap(draws.bernoulli(Stream(generator), of(float32, 64, 48), 0.75))
        return x * kept / 0.75

    (view,) = lazyt.explain(step).programs
    (kernel,) = ProgramView(view.traced, names=view.names, tier="c").kernels
    assert kernel.c.count("lz_philox(") == 1
    assert "reads   x: float32[64,48]\n * writes  quotient: float32[64,48]\n" in kernel.c
    assert "seed_low, seed_high, offset_low, offset_high" in kernel.c


def test_normals_take_one_block_a_pair() -> None:
    """Both words of a normal are of one block with one key: a compiler shares the rounds."""
    from lazyt.dispatch import wrap
    from lazyt.inspect.program import ProgramView

    generator = PhiloxGenerator(1)
    (view,) = lazyt.explain(lambda: wrap(draws.normal(Stream(generator), of(float32)))).programs
    (kernel,) = ProgramView(view.traced, names=view.names, tier="c").kernels
    text = re.sub(r"\s+", " ", kernel.c)
    calls = re.findall(r"lz_philox\((\w+), \w+, (.*?)\);", text)
    assert len(calls) == 2 and len(set(calls)) == 1


# --- on devices -----------------------------------------------------------------------------------


def cuda_kernels(draw: Callable[[Stream], Node]) -> list[CudaKernel]:
    """The CUDA C of a draw on a device that is not there."""
    with tracing() as trace:
        node = draw(Stream(PhiloxGenerator(0)))
    leaves = {id(s.value): k for k, s in enumerate(inputs_of(trace))}
    traced, _ = build_graph(trace, (trace.index(node),), leaves, set())
    code = generate(loop_nests(optimize(traced)[0], native=False))
    return [nest.cuda for nests in code.nests for nest in nests]


G32 = TensorType.of((64, 48), float32, "cuda:0")
G64, GINT = G32.with_dtype(float64), G32.with_dtype(int64)
# How many words an element needs, and the draw.
ON_DEVICES: dict[str, tuple[int, Callable[[Stream], Node]]] = {
    "uniform": (1, lambda s: draws.uniform(s, G32)),
    "uniform in double": (2, lambda s: draws.uniform(s, G64, -1.0, 1.0)),
    "normal": (2, lambda s: draws.normal(s, G32, 1.0, 2.0)),
    "normal in double": (4, lambda s: draws.normal(s, G64)),
    "log_normal": (2, lambda s: draws.log_normal(s, G32)),
    "exponential": (1, lambda s: draws.exponential(s, G32)),
    "cauchy": (1, lambda s: draws.cauchy(s, G32)),
    "integers": (1, lambda s: draws.integers(s, GINT, -7, 93)),
    "integers of a wide range": (2, lambda s: draws.integers(s, GINT, -9, 1 << 40)),
    "bernoulli": (1, lambda s: draws.bernoulli(s, G32, 0.3)),
    "geometric": (1, lambda s: draws.geometric(s, G32, 0.3)),
}


@pytest.mark.parametrize("name", ON_DEVICES)
def test_a_draw_on_a_device_is_one_kernel(name: str) -> None:
    words, draw = ON_DEVICES[name]
    (kernel,) = cuda_kernels(draw)
    assert kernel.text.count("lz_philox(") == words


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_90", "sm_75"])
def test_nvcc_compiles_draws_without_spills(arch: str, tmp_path: Any) -> None:
    texts = {k.name: k.text for _, draw in ON_DEVICES.values() for k in cuda_kernels(draw)}
    said = compiled_by_nvcc(texts, arch, tmp_path)
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", said)
    assert len(spills) >= len(texts)
    assert set(spills) == {("0", "0")}


def test_dropout_reads_well(golden: Callable[[str], None]) -> None:
    """A draw, a comparison and a product, in CUDA C."""

    def dropout(stream: Stream) -> Node:
        x = transfer(leaf_of(np.ones(G32.shape, np.float32)), G32.device)
        return mul(x, mul(draws.bernoulli(stream, G32, 0.75), 1 / 0.75))

    (kernel,) = cuda_kernels(dropout)
    golden(kernel.text)
