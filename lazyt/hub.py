"""torch.hub: nothing is downloaded; what asks for it is told what to do instead.

torch.hub.load("pytorch/vision", "resnet18")   # RuntimeError
"""

from __future__ import annotations

from typing import Any, NoReturn


def load(*args: Any, **options: Any) -> NoReturn:
    """RuntimeError: repositories are not downloaded and run."""
    raise RuntimeError(
        "torch.hub.load is not here: it downloads code and runs it; write the model down, and load "
        "its weights with torch.load"
    )


def load_state_dict_from_url(url: str, *args: Any, **options: Any) -> NoReturn:
    """RuntimeError: files are not downloaded."""
    raise RuntimeError(
        f"torch.hub.load_state_dict_from_url is not here: download {url} and give the file to "
        "torch.load"
    )
