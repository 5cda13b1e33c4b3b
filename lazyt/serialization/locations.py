"""Where the storages of a file go: by the tags they were saved with, or where the user says.

    load("net.pt", map_location={"cuda:1": "cuda:0"})
    restorer({"cuda:1": "cuda:0"})(storage, "cuda:1")      # the storage, on cuda:0

A tag is "cpu" or "cuda:0". Other kinds of places can be registered, each by two functions: the tag
of a storage, and a storage for a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import lazyt
from lazyt.device import Device
from lazyt.utils import typename

Restore = Callable[[Any, str], Any]
MAP_LOCATION: TypeAlias = Callable[[Any, str], Any] | Device | str | dict[str, str] | None


def _cpu_tag(storage: Any) -> str | None:
    return "cpu" if storage.device.type == "cpu" else None


def _cuda_tag(storage: Any) -> str | None:
    return str(storage.device) if storage.device.type == "cuda" else None


def _on_cpu(storage: Any, location: str) -> Any:
    return storage.cpu() if location == "cpu" else None


def _on_cuda(storage: Any, location: str) -> Any:
    if location != "cuda" and not re.match("cuda(:|[0-9]+)", location):
        return None
    if not lazyt.cuda.is_available():
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
            "False. If you are running on a CPU-only machine, please use torch.load with "
            "map_location=torch.device('cpu') to map your storages to the CPU."
        )
    index, count = Device(location).index or 0, lazyt.cuda.device_count()
    if index >= count:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {index} but "
            f"torch.cuda.device_count() is {count}. Please use torch.load with map_location to map "
            "your storages to an existing device."
        )
    return storage.to(location)


_PACKAGES: list[tuple[int, Callable, Callable]] = [
    (10, _cpu_tag, _on_cpu),
    (20, _cuda_tag, _on_cuda),
]


def register_package(priority: int, tagger: Callable, deserializer: Callable) -> None:
    """Adds a kind of place: `tagger(storage)` gives its tag or None, `deserializer(storage, tag)`
    the storage there or None. The lowest priority is asked first."""
    _PACKAGES.append((priority, tagger, deserializer))
    _PACKAGES.sort(key=lambda package: package[0])


def location_tag(storage: Any) -> str:
    """The tag of the place a storage is at. RuntimeError where nobody knows it."""
    for _, tagger, _ in _PACKAGES:
        location = tagger(storage)
        if location:
            return location
    raise RuntimeError("don't know how to determine data location of " + typename(storage))


def default_restore_location(storage: Any, location: str) -> Any:
    """A storage at the place of a tag. RuntimeError where nobody knows that, or it is not there."""
    for _, _, deserializer in _PACKAGES:
        restored = deserializer(storage, location)
        if restored is not None:
            return restored
    raise RuntimeError(
        f"don't know how to restore data location of {typename(storage)} (tagged with {location})"
    )


def restorer(map_location: Any) -> Restore:
    """What puts a storage with a tag where `map_location` says: None, a device or its name, a dict
    from tags to tags, or a function of storage and tag that may return None for the default."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(
            storage, map_location.get(location, location)
        )
    if isinstance(map_location, bytes):
        map_location = map_location.decode("ascii")
    if isinstance(map_location, (str, Device)):
        return lambda storage, location: default_restore_location(storage, str(map_location))

    def restore(storage: Any, location: str) -> Any:
        restored = map_location(storage, location)
        return default_restore_location(storage, location) if restored is None else restored

    return restore
