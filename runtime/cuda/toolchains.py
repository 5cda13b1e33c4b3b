"""What turns CUDA C into an image for a device: NVRTC, nvcc, or the host's C++ compiler.

    toolchain(device(0)).compile(source, "sm_90", path)     # the bytes of a cubin

Products and sums are rounded one after the other (no contraction): a kernel that wants a fused
multiply-add says fmaf, and gives the same on the host-executed device.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..native import TIMEOUT_S, CompilerError
from .driver import Device

WHEELS = "nvidia-cuda-nvrtc nvidia-cuda-runtime cuda-bindings"
COMPILER_NEEDED = f"pip install {WHEELS}, or install the CUDA toolkit (nvcc)"


class Toolchain(ABC):
    """One compiler."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """All that decides what it makes of a source, besides source and architecture."""

    @abstractmethod
    def compile(self, source: str, architecture: str, path: Path) -> bytes:
        """The image of a source that is saved at `path`. Errors: CompilerError."""


class Nvrtc(Toolchain):
    """NVIDIA's compiler as a library, of the wheels nvidia-cuda-nvrtc and cuda-bindings."""

    FLAGS = ("--fmad=false", "--std=c++17")

    def __init__(self, nvrtc: Any):
        self._nvrtc = nvrtc

    @functools.cached_property
    def identity(self) -> str:
        _, major, minor = self._nvrtc.nvrtcVersion()
        return "\n".join((f"nvrtc {major}.{minor}", *self._flags()))

    def _flags(self) -> tuple[str, ...]:
        return (*self.FLAGS, *(f"--include-path={folder}" for folder in include_folders()))

    def compile(self, source: str, architecture: str, path: Path) -> bytes:
        api = self._nvrtc
        flags = [f.encode() for f in (f"--gpu-architecture={architecture}", *self._flags())]
        code, program = api.nvrtcCreateProgram(source.encode(), str(path).encode(), 0, [], [])
        self._check(code, path)
        try:
            (code,) = api.nvrtcCompileProgram(program, len(flags), flags)
            if code != api.nvrtcResult.NVRTC_SUCCESS:
                _, size = api.nvrtcGetProgramLogSize(program)
                log = bytearray(size)
                api.nvrtcGetProgramLog(program, log)
                words = bytes(log).rstrip(b"\0\n").decode(errors="replace")
                raise CompilerError(f"NVRTC failed on {path}:\n{words}")
            code, size = api.nvrtcGetCUBINSize(program)
            self._check(code, path)
            image = bytearray(size)
            (code,) = api.nvrtcGetCUBIN(program, image)
            self._check(code, path)
        finally:
            api.nvrtcDestroyProgram(program)
        return bytes(image)

    def _check(self, code: Any, path: Path) -> None:
        if code != self._nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompilerError(f"NVRTC failed on {path}: {code!r}")


class Nvcc(Toolchain):
    """NVIDIA's compiler as a program."""

    FLAGS = ("-cubin", "-fmad=false", "-std=c++17", "-O3")

    def __init__(self, command: tuple[str, ...]):
        self._command = command

    @functools.cached_property
    def identity(self) -> str:
        call = [*self._command, "--version"]
        return "\n".join((*self._command, *self.FLAGS, _run(call).stdout))

    def compile(self, source: str, architecture: str, path: Path) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "kernels.cubin"
            flags = [*self.FLAGS, f"-arch={architecture}"]
            done = _run([*self._command, *flags, "-o", str(made), str(path)])
            if done.returncode != 0 or not made.exists():
                words = done.stderr or done.stdout
                raise CompilerError(f"{shlex.join(self._command)} failed on {path}:\n{words}")
            return made.read_bytes()


class Host(Toolchain):
    """The host's C++ compiler, for the host-executed device; LAZYT_CUDA_CHECK=1 adds its checks."""

    @property
    def identity(self) -> str:
        from .host import build

        return build.identity(self._check())

    @staticmethod
    def _check() -> bool:
        return os.environ.get("LAZYT_CUDA_CHECK", "0") == "1"

    def compile(self, source: str, architecture: str, path: Path) -> bytes:
        from .host import build

        try:
            return build.compile_host(source, check=self._check()).read_bytes()
        except build.HostCompileError as error:
            raise CompilerError(str(error)) from None


def _run(call: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(call, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise CompilerError(f"{shlex.join(call)} did not finish in {TIMEOUT_S} s") from None
    except OSError as error:
        raise CompilerError(f"{shlex.join(call)} cannot be run: {error}") from None


@functools.cache
def _nvrtc() -> Nvrtc | None:
    if find_spec("cuda") is None:
        return None
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except Exception:  # without its library it raises what it pleases
        return None
    return Nvrtc(nvrtc)


@functools.cache
def nvcc() -> tuple[str, ...] | None:
    """The command of nvcc: CUDACXX, else that of CUDA_HOME, else the one on PATH, or None."""
    given = os.environ.get("CUDACXX")
    if given:
        return tuple(shlex.split(given))
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    for found in (shutil.which("nvcc", path=f"{home}/bin") if home else None, shutil.which("nvcc")):
        if found:
            return (found,)
    return None


def include_folders() -> list[str]:
    """Where the toolkit's headers are (cuda_fp16.h), for NVRTC, which brings none: CUDA_HOME, the
    wheel nvidia-cuda-runtime, or nvcc's toolkit; empty where they are not found."""
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    folders = [Path(home) / "include" for home in homes if home]
    spec = find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folders += sorted(Path(place).glob("*/include"))
    command = nvcc()
    if command:
        told = _run([*command, "--dryrun", "-x", "cu", "-E", os.devnull]).stderr
        tops = [line.partition("TOP=")[2] for line in told.splitlines() if "TOP=" in line]
        folders += [Path(top.strip()) / "include" for top in tops]
    return [str(folder) for folder in folders if (folder / "cuda_fp16.h").exists()][:1]


@functools.cache
def _gpu_toolchain() -> Toolchain | None:
    command, library = nvcc(), _nvrtc()
    if library and (include_folders() or not command):
        return library
    return Nvcc(command) if command else None


def missing_compiler() -> str | None:
    """What to install for a compiler of CUDA C; None where there is one."""
    if _gpu_toolchain() is None:
        return f"no compiler of CUDA C was found (NVRTC or nvcc): {COMPILER_NEEDED}"
    return None


def toolchain(device: Device) -> Toolchain:
    """The compiler for a device. Errors: CompilerError where there is none."""
    found = Host() if device.host else _gpu_toolchain()
    if found is None:
        raise CompilerError(missing_compiler() or "")
    return found
