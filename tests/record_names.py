"""Records the public names of PyTorch, which lazyt/coverage/names.txt holds.

    python tests/record_names.py > lazyt/coverage/names.txt        # where torch is installed

The file has a header for every module or class and its names below, sorted: what `__all__` says,
else what `dir` finds that is defined in torch.
"""

from __future__ import annotations

import importlib
import inspect
import types
import warnings
from collections.abc import Iterator
from typing import Any

MODULES = """
torch
torch.nn torch.nn.functional torch.nn.init torch.nn.parameter torch.nn.utils torch.nn.utils.rnn
torch.nn.utils.parametrizations torch.nn.utils.parametrize torch.nn.utils.prune
torch.nn.utils.stateless torch.nn.utils.clip_grad torch.nn.attention torch.nn.parallel
torch.optim torch.optim.lr_scheduler torch.optim.swa_utils
torch.utils torch.utils.data torch.utils.checkpoint torch.utils.dlpack torch.utils.hooks
torch.utils.tensorboard torch.utils.benchmark torch.utils.cpp_extension torch.utils.model_zoo
torch.utils.mobile_optimizer torch.utils.flop_counter
torch.autograd torch.autograd.functional torch.autograd.graph torch.autograd.forward_ad
torch.autograd.function torch.autograd.profiler torch.autograd.anomaly_mode
torch.autograd.grad_mode torch.autograd.gradcheck
torch.func torch.linalg torch.fft torch.special torch.random torch.signal.windows
torch.distributions torch.distributions.constraints torch.distributions.transforms
torch.distributions.kl torch.distributions.utils
torch.amp torch.cuda torch.cuda.amp torch.cuda.nvtx torch.cuda.random torch.cuda.memory
torch.accelerator torch.backends torch.backends.cpu torch.backends.cuda torch.backends.cudnn
torch.backends.mkl torch.backends.mkldnn torch.backends.mps torch.backends.openmp
torch.mps torch.cpu torch.xpu
torch.profiler torch.jit torch.fx torch.export torch.onnx torch.compiler torch.library torch.hub
torch.multiprocessing torch.distributed torch.sparse torch.nested torch.masked torch.overrides
torch.package torch.serialization torch.testing torch.storage torch.types torch.monitor
torch.quantization torch.ao.quantization
"""
CLASSES = """
torch.Tensor torch.nn.Module torch.nn.Parameter torch.nn.Sequential torch.nn.ModuleList
torch.nn.ModuleDict torch.nn.ParameterList torch.nn.ParameterDict torch.optim.Optimizer
torch.optim.lr_scheduler.LRScheduler torch.utils.data.DataLoader torch.utils.data.Dataset
torch.Generator torch.Size torch.dtype torch.device torch.finfo torch.iinfo
torch.autograd.Function torch.autograd.function.FunctionCtx torch.cuda.Stream torch.cuda.Event
torch.nn.utils.rnn.PackedSequence torch.amp.GradScaler torch.distributions.Distribution
"""
# Modules whose `__all__` leaves out what programs use.
ALSO_UNLISTED = ("torch.backends", "torch.nn", "torch.optim")
# Where a module is an object that does not list its settings.
SETTINGS = {
    "torch.backends.cudnn": "allow_tf32 benchmark benchmark_limit deterministic enabled flags "
    "is_available version",
}
# What cannot be imported where a package that it needs is not there.
NEEDING_MORE = {"torch.utils.tensorboard": "FileWriter\nRecordWriter\nSummaryWriter"}
# Kernels and compiler classes that `torch` shows and does not document.
INTERNAL = (
    "autocast_", "batch_norm_", "choose_qparams", "cudnn_", "fake_quantize", "fbgemm_",
    "fused_moving", "import_ir", "is_autocast_ipu", "is_autocast_xla", "get_autocast_ipu",
    "get_autocast_xla", "merge_type", "miopen_", "mkldnn_", "native_", "parse_", "q_", "quantized_",
    "sparse_", "sym_", "USE_",
)  # fmt: skip
CLASSES_OF_TORCH = {"Event", "Generator", "Size", "Stream", "SymInt", "SymFloat", "SymBool", "Tag"}
# Arithmetic and the protocols that programs call by name.
DUNDERS = {"__getitem__", "__setitem__", "__len__", "__array__", "__dlpack__"}


def public(name: str, module: types.ModuleType) -> Iterator[str]:
    """The public names of a module that is imported by `name`."""
    listed = getattr(module, "__all__", None)
    names = set(listed or ()) | set(SETTINGS.get(name, "").split())
    if listed is None or name == "torch" or name.startswith(ALSO_UNLISTED):
        names |= {n for n in dir(module) if not n.startswith("_") and ours(module, n)}
    if name == "torch":
        names = {n for n in names if not internal(module, n)}
    yield from sorted(n for n in names if not n.startswith("_") and hasattr(module, n))


def internal(module: types.ModuleType, name: str) -> bool:
    """Whether a name of `torch` is of its own machinery."""
    if name[0].isupper():
        return name not in CLASSES_OF_TORCH and not name.endswith(("Tensor", "Storage", "Error"))
    return name.startswith(INTERNAL) or name.endswith(("_copy", "_elemt"))


def ours(module: types.ModuleType, name: str) -> bool:
    """Whether a name of a module stands for something of PyTorch's."""
    value: Any = getattr(module, name)
    if isinstance(value, types.ModuleType):
        return value.__name__ == f"{module.__name__}.{name}"
    home = getattr(value, "__module__", None)
    if inspect.isclass(value) or inspect.isroutine(value):
        return home is None or home.startswith(("torch", "_VariableFunctions"))
    return type(value).__module__.startswith("torch") or isinstance(value, (int, float, bool, str))


def members(cls: type, inherited: set[str]) -> Iterator[str]:
    """The public attributes of a class, without those of the classes it is derived from."""
    for name in sorted(set(dir(cls)) - inherited):
        if name in DUNDERS or not name.startswith("_"):
            yield name


def main() -> None:
    warnings.simplefilter("ignore")
    print("# public names of PyTorch", importlib.import_module("torch").__version__.split("+")[0])
    print("# written by tests/record_names.py")
    for name in MODULES.split():
        try:
            module = importlib.import_module(name)
            print(f"\n[{name}]\n" + "\n".join(public(name, module)))
        except ImportError:
            print(f"\n[{name}]\n{NEEDING_MORE[name]}")
    known: dict[type, set[str]] = {}
    for name in CLASSES.split():
        path, _, attribute = name.rpartition(".")
        cls = getattr(importlib.import_module(path), attribute)
        bases = [names for base, names in known.items() if issubclass(cls, base)]
        known[cls] = set(dir(cls))
        print(f"\n[{name}]")
        print("\n".join(members(cls, set().union(*bases))))


if __name__ == "__main__":
    main()
