"""torch.onnx: exporting is missing, and says so.

torch.onnx.export(model, x, "model.onnx")   # RuntimeError
"""

from __future__ import annotations

from typing import Any, NoReturn


def export(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: programs are not written as ONNX files."""
    raise RuntimeError(
        "torch.onnx.export is not here; save the state_dict with torch.save and export it with "
        "PyTorch"
    )


def is_in_onnx_export() -> bool:
    """False: nothing is ever exported."""
    return False
