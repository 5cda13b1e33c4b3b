"""lazyt: a static-graph tensor compiler with a lazy frontend that speaks PyTorch.

    import lazyt as torch

Operations are traced into a graph; reading a value compiles what is pending and runs it.
"""

from __future__ import annotations

import os as _os

from lazyt.ir import dtypes as _dtypes
from lazyt.ir.node import mark_internal as _mark_internal

for _folder in ("", "codegen", "runtime"):
    _path = _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), _folder)
    _mark_internal(_path)
import lazyt.codegen as _codegen  # noqa: E402
import lazyt.runtime as _runtime  # noqa: E402

for _module in (_codegen, _runtime):
    _mark_internal(_os.path.dirname(_os.path.abspath(_module.__file__ or "")))

from lazyt import autograd as autograd  # noqa: E402
from lazyt import views as _views  # noqa: E402, F401
from lazyt.conversion import LEGACY as _LEGACY  # noqa: E402
from lazyt.creation import PUBLIC as _CREATION  # noqa: E402
from lazyt.device import Device as device  # noqa: E402, N813
from lazyt.gradmode import enable_grad as enable_grad  # noqa: E402
from lazyt.gradmode import inference_mode as inference_mode  # noqa: E402
from lazyt.gradmode import is_grad_enabled as is_grad_enabled  # noqa: E402
from lazyt.gradmode import is_inference_mode_enabled as is_inference_mode_enabled  # noqa: E402
from lazyt.gradmode import no_grad as no_grad  # noqa: E402
from lazyt.gradmode import set_grad_enabled as set_grad_enabled  # noqa: E402
from lazyt.info import finfo as finfo  # noqa: E402
from lazyt.info import iinfo as iinfo  # noqa: E402
from lazyt.ir.dtypes import DType as dtype  # noqa: E402, N813
from lazyt import compositions as _compositions  # noqa: E402, F401
from lazyt.registry import FUNCTIONS as _FUNCTIONS  # noqa: E402
from lazyt.printing import set_printoptions as set_printoptions  # noqa: E402
from lazyt.settings import *  # noqa: E402, F403
from lazyt.size import Size as Size  # noqa: E402
from lazyt import random as random  # noqa: E402
from lazyt import extremes as _extremes  # noqa: E402, F401
from lazyt import reductions as _reductions  # noqa: E402, F401
from lazyt import indexing as _indexing  # noqa: E402, F401
from lazyt.inspect import dump as dump  # noqa: E402
from lazyt.inspect import explain as explain  # noqa: E402
from lazyt.inspect import reset_stats as reset_stats  # noqa: E402
from lazyt.inspect import stats as stats  # noqa: E402
from lazyt import linalg as linalg  # noqa: E402
from lazyt import joining as _joining  # noqa: E402, F401
from lazyt import rearranging as _rearranging  # noqa: E402, F401
from lazyt import padding as _padding  # noqa: E402, F401
from lazyt import gathering as _gathering  # noqa: E402, F401
from lazyt import order_statistics as _order_statistics  # noqa: E402, F401
from lazyt import return_types as return_types  # noqa: E402
from lazyt import scans as _scans  # noqa: E402, F401
from lazyt import sorting as _sorting  # noqa: E402, F401
from lazyt import softmax as _softmax  # noqa: E402, F401
from lazyt import assignment as _assignment  # noqa: E402, F401
from lazyt import draws as _draws  # noqa: E402, F401
from lazyt.tensor import Tensor as Tensor  # noqa: E402
from lazyt.torch_names import install_importer_finder as _install  # noqa: E402

_install()
globals().update(_LEGACY)
globals().update(_CREATION)
globals().update(_FUNCTIONS)

float64 = double = _dtypes.float64
float32 = float = _dtypes.float32
float16 = half = _dtypes.float16
bfloat16 = _dtypes.bfloat16
int64 = long = _dtypes.int64
int32 = int = _dtypes.int32
int16 = short = _dtypes.int16
int8 = _dtypes.int8
uint8 = _dtypes.uint8
bool = _dtypes.bool_

inf, nan, pi, e = _dtypes.INF, _dtypes.NAN, 3.141592653589793, 2.718281828459045
newaxis = None
strided = "torch.strided"
contiguous_format = "torch.contiguous_format"
preserve_format = "torch.preserve_format"
channels_last = "torch.channels_last"
__version__ = "0.1.0"

_LATER = ("nn", "optim", "utils")


def __getattr__(name: str):
    """What is imported when it is first named: submodules, and functions that live in
    nn.functional."""
    import importlib

    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    if not name.startswith("_"):
        importlib.import_module(f"{__name__}.nn.functional")
        if name in _FUNCTIONS:
            globals()[name] = _FUNCTIONS[name]
            return _FUNCTIONS[name]
    raise AttributeError(f"module 'torch' has no attribute '{name}'")


def _later_method(name: str):
    def method(self, *args, **kwargs):
        import importlib

        importlib.import_module(f"{__name__}.nn.functional")  # attaches the real method
        return getattr(self, name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    return method


for _name in ("prelu", "hardshrink"):
    setattr(Tensor, _name, _later_method(_name))
