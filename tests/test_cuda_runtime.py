"""The CUDA runtime on the host-executed device, through ctypes and, where it is there, PyCUDA.

The checks stand in cuda_runtime_checks.py; each runs in a process of its own, which must end in
silence: what is left when the interpreter ends is freed without a word on stderr.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lazyt.codegen.launches import Fixed, Launch, Table
from lazyt.runtime.cuda import launch, pool, toolchains
from lazyt.runtime.cuda.array import copy_kernel
from lazyt.runtime.cuda.host import build
from lazyt.runtime.native import CompilerError

CHECKS = Path(__file__).with_name("cuda_runtime_checks.py")
HAS_PYCUDA = importlib.util.find_spec("pycuda") is not None
NO_PYCUDA = "PyCUDA is not installed: .ci/pycuda.sh PYTHON builds it"
DRIVERS = [
    "ctypes",
    pytest.param("pycuda", marks=pytest.mark.skipif(not HAS_PYCUDA, reason=NO_PYCUDA)),
]

pytestmark = pytest.mark.skipif(
    build.cpp_compiler() is None or build.c_compiler() is None,
    reason="the host-executed device needs a C and a C++ compiler",
)


def environment(**variables: str) -> dict[str, str]:
    """Where a check runs: the driver for the host can also be found by its name."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAZYT_CUDA", "LAZYT_FAKE"))}
    if variables.get("LAZYT_CUDA_HOST"):
        folders = [str(build.fake_driver().parent), os.environ.get("LD_LIBRARY_PATH", "")]
        kept["LD_LIBRARY_PATH"] = ":".join(filter(None, folders))
        kept["LAZYT_CUDA_HOST_DEVICES"] = "2"
    return {**kept, **variables}


def run(check: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A check in a process of its own."""
    command = [sys.executable, str(CHECKS), check]
    return subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=300
    )


def passes(check: str, driver: str, **variables: str) -> None:
    """Runs a check, which must end well and in silence."""
    done = run(check, LAZYT_CUDA_HOST=driver, **variables)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "check",
    [
        "devices",
        "copies_of_every_dtype",
        "views",
        "strided_copies",
        "transposes",
        "copies_that_overlap",
        "copies_count_their_launches",
        "axes_merge",
        "copies_that_are_refused",
        "interface",
        "arguments_of_every_kind",
        "packed_bytes",
        "much_shared_memory",
        "preludes",
        "refusals",
        "several_devices",
        "threads",
        "memory_is_counted",
        "memory_waits_for_streams",
        "staging_waits_for_its_stream",
        "streams_and_events",
        "fork_before_use",
        "fork_after_use",
        "surface",
    ],
)
def test_check(check: str, driver: str) -> None:
    passes(check, driver)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "check",
    [
        "copies_of_every_dtype",
        "views",
        "strided_copies",
        "transposes",
        "copies_that_overlap",
        "axes_merge",
        "interface",
        "arguments_of_every_kind",
        "much_shared_memory",
        "refusals",
        "threads",
        "a_kernel_that_does_not_compile",
    ],
)
def test_check_on_a_gpu(check: str) -> None:
    passes(check, os.environ.get("LAZYT_CUDA_HOST", ""))


def test_pycuda_is_used_where_it_is_installed() -> None:
    passes("devices", "1" if HAS_PYCUDA else "ctypes")


@pytest.mark.parametrize("driver", DRIVERS)
def test_use_at_the_end(driver: str) -> None:
    done = run("use_at_the_end", LAZYT_CUDA_HOST=driver)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "handler [1.0, 2.0]\nfinalizer [1.0, 2.0]\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_out_of_memory(driver: str) -> None:
    passes("out_of_memory", driver, LAZYT_FAKE_CUDA_MEMORY=str(1 << 20))


@pytest.mark.parametrize("driver", DRIVERS)
def test_faults_are_errors(driver: str) -> None:
    passes("faults_are_errors", driver, LAZYT_CUDA_CHECK="1")


def test_strided_copies_have_no_faults() -> None:
    for order in ("0", "1"):
        checks = {"LAZYT_CUDA_CHECK": "1", "LAZYT_FAKE_CUDA_RACES": "1"}
        for check in ("strided_copies", "transposes"):
            passes(check, "ctypes", LAZYT_FAKE_CUDA_REVERSE=order, **checks)


def test_devices_without_peer_copies() -> None:
    passes("several_devices", "ctypes", LAZYT_FAKE_CUDA_PEER="0")
    if HAS_PYCUDA:
        passes("several_devices", "pycuda", LAZYT_FAKE_CUDA_PEER="0")


def test_only_launches_and_copies_touch_device_memory() -> None:
    for check in ("strided_copies", "copies_of_every_dtype", "interface", "several_devices"):
        passes(check, "ctypes", LAZYT_FAKE_CUDA_PROTECT="1")
    done = run(
        "the_host_cannot_touch_device_memory", LAZYT_CUDA_HOST="ctypes", LAZYT_FAKE_CUDA_PROTECT="1"
    )
    assert done.returncode == -signal.SIGSEGV and done.stdout == "copied\n"


# --------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize("driver", DRIVERS)
def test_kernels_are_compiled_once(driver: str, tmp_path: Path) -> None:
    cache = str(tmp_path)
    passes("a_batch_is_one_call", driver, LAZYT_CACHE=cache)
    passes("kernels_are_found_again", driver, LAZYT_CACHE=cache)
    assert not list((tmp_path / "cuda").glob("*.tmp"))


def broken(content: bytes, how: str) -> bytes:
    """A broken entry of the cache."""
    return {
        "empty": b"",
        "truncated": content[: len(content) // 2],
        "changed": content[:100] + b"?" + content[101:],
        "no image": b"no image" + hashlib.sha256(b"no image").digest(),
    }[how]


@pytest.mark.parametrize("how", ["empty", "truncated", "changed", "no image"])
def test_broken_entries_are_made_anew(how: str, tmp_path: Path) -> None:
    cache = str(tmp_path)
    passes("broken_entries_are_made_anew", "ctypes", LAZYT_CACHE=cache)
    (entry,) = (tmp_path / "cuda").glob("*.cubin")
    whole = entry.read_bytes()
    entry.write_bytes(broken(whole, how))
    passes("broken_entries_are_made_anew", "ctypes", LAZYT_CACHE=cache)
    assert entry.read_bytes() == whole


def test_a_cache_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "cuda").write_text("no folder")
    passes("a_cache_that_takes_nothing", "ctypes", LAZYT_CACHE=str(tmp_path))


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_kernel_that_does_not_compile(driver: str) -> None:
    passes("a_kernel_that_does_not_compile", driver)


def script(path: Path, text: str) -> str:
    """An executable file with a shell script."""
    path.write_text("#!/bin/sh\n" + textwrap.dedent(text))
    path.chmod(0o755)
    return str(path)


def test_a_compiler_that_hangs(tmp_path: Path) -> None:
    slow = script(
        tmp_path / "slow", 'case "$1" in --version) echo slow 1;; *) exec sleep 60;; esac'
    )
    passes("a_compiler_that_hangs", "ctypes", CXX=slow)


def test_nvcc_makes_an_image(tmp_path: Path) -> None:
    command = toolchains.nvcc()
    if command is None:
        pytest.skip("nvcc was not found")
    compiler = toolchains.Nvcc(command)
    assert "release" in compiler.identity
    path = tmp_path / "copy.cu"
    path.write_text(copy_kernel().text)
    image = compiler.compile(path.read_text(), "sm_90", path)
    assert image.startswith(b"\x7fELF") and b"strided_transpose_8" in image
    path.write_text('extern "C" __global__ void f(int* a) { *a = undefined_name; }')
    with pytest.raises(CompilerError, match="undefined_name") as caught:
        compiler.compile(path.read_text(), "sm_90", path)
    assert str(path) in str(caught.value)


def test_nvcc_that_hangs_or_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "TIMEOUT_S", 1)
    hangs = toolchains.Nvcc((script(tmp_path / "nvcc", "exec sleep 60"),))
    with pytest.raises(CompilerError, match="--version did not finish in 1 s"):
        _ = hangs.identity
    absent = toolchains.Nvcc((str(tmp_path / "absent"),))
    with pytest.raises(CompilerError, match="absent .*cannot be run"):
        absent.compile("", "sm_90", tmp_path / "a.cu")


def test_where_nvcc_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(variable, raising=False)
    find = toolchains.nvcc.__wrapped__
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find() is None
    on_path = script(tmp_path / "nvcc", "")
    assert find() == (on_path,)
    (tmp_path / "home" / "bin").mkdir(parents=True)
    at_home = script(tmp_path / "home" / "bin" / "nvcc", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    assert find() == (at_home,)
    monkeypatch.setenv("CUDACXX", "ccache nvcc")
    assert find() == ("ccache", "nvcc")


def test_nvrtc_makes_an_image(tmp_path: Path) -> None:
    compiler = toolchains._nvrtc()
    if compiler is None:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc cuda-bindings")
    path = tmp_path / "copy.cu"
    image = compiler.compile(copy_kernel().text, "sm_90", path)
    assert image.startswith(b"\x7fELF") and b"strided_transpose_8" in image
    with pytest.raises(CompilerError, match="undefined_name") as caught:
        compiler.compile('extern "C" __global__ void f() { undefined_name; }', "sm_90", path)
    assert str(path) in str(caught.value)


def test_the_pools_size_classes() -> None:
    sizes = [pool.size_class(n) for n in (1, 256, 257, 320, 321, 512, 513, 1 << 20, (1 << 20) + 1)]
    assert sizes == [256, 256, 320, 320, 384, 512, 640, 1 << 20, (1 << 20) + (1 << 18)]
    for n in range(1, 5000):
        assert n <= pool.size_class(n) < max(257, 1.25 * n + 1)
    freed: list[int] = []
    made = iter(range(1000, 2000))
    one = pool.SizeClassPool(lambda n: next(made), freed.append)
    a, b = one.allocate(300), one.allocate(310)
    assert (int(a), int(b), one.managed_bytes) == (1000, 1001, 640)
    del a
    assert int(one.allocate(260)) == 1000 and one.managed_bytes == 640
    one.free_held()
    assert freed == [1000] and one.managed_bytes == 320


def test_a_table_has_fields_of_eight_bytes() -> None:
    table = Table(((Fixed(1, "i"), Fixed(2.0, "f")), (Fixed(3, "I"), Fixed(4, "q"))))
    step = Launch("f", (1, 1, 1), (1, 1, 1), (Fixed(9, "i"), table))
    assert launch.packer(step)((), (), 0, 0) == struct.pack("=iiqdqq", 9, 0, 1, 2.0, 3, 4)


def test_every_argument_is_of_a_kind() -> None:
    step = Launch("f", (1, 1, 1), (1, 1, 1), ("x",))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'x' cannot be an argument of a launch"):
        launch.packer(step)


# ------------------------------------------------------------------------------- what is missing


MISSING = """
from lazyt.runtime.cuda import driver
print(driver.missing(), driver.device_count())
"""


def told(code: str, **variables: str) -> str:
    """What a script prints, in a process of its own without PATH and driver."""
    start = """
        import sys
        def without(name):
            sys.modules[name] = None
    """
    text = textwrap.dedent(start) + textwrap.dedent(code)
    names = ("LAZYT_CACHE", "XDG_CACHE_HOME", "HOME")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    kept["PATH"] = "/nonexistent"
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def has_driver() -> bool:
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@pytest.mark.skipif(has_driver(), reason="a driver is installed")
def test_everything_is_missing() -> None:
    text = told("without('pycuda'); without('cuda')" + MISSING).removesuffix(" 0")
    lacks = text.split("; ")
    assert [lack.split(" (")[0] for lack in lacks] == [
        "no NVIDIA driver was found",
        "PyCUDA is not installed: pip install 'lazyt[cuda]'",
        "no compiler of CUDA C was found",
    ]
    assert lacks[0].endswith("install the driver of your GPU (https://www.nvidia.com/drivers)")
    assert lacks[2].endswith(
        "pip install nvidia-cuda-nvrtc nvidia-cuda-runtime cuda-bindings, "
        "or install the CUDA toolkit (nvcc)"
    )


def test_one_thing_is_missing(tmp_path: Path) -> None:
    library = str(build.fake_driver().parent)
    nvcc = script(tmp_path / "nvcc", "")
    text = told(
        "without('pycuda')" + MISSING,
        LD_LIBRARY_PATH=library,
        CUDACXX=nvcc,
    )
    assert text == "PyCUDA is not installed: pip install 'lazyt[cuda]' 0"
    if not HAS_PYCUDA:
        return
    text = told("without('cuda')" + MISSING, LD_LIBRARY_PATH=library)
    assert text.startswith("no compiler of CUDA C was found (NVRTC or nvcc): pip install nvidia-")
    none = told(
        MISSING,
        LD_LIBRARY_PATH=library,
        CUDACXX=nvcc,
        LAZYT_CUDA_HOST_DEVICES="0",
    )
    assert none.startswith(
        "the NVIDIA driver finds no GPU (it has no devices): see what nvidia-smi"
    )
    broken = "without('pycuda._driver')" + MISSING
    text = told(broken, LD_LIBRARY_PATH=library, CUDACXX=nvcc)
    assert text.startswith("PyCUDA cannot be imported (import of pycuda._driver halted")
    assert "pip install --force-reinstall" in text
    text = told(MISSING + "print(driver.device(0).host)", LD_LIBRARY_PATH=library, CUDACXX=nvcc)
    assert text == "None 1\nFalse"


def test_the_host_executed_device_is_missing(tmp_path: Path) -> None:
    text = told(MISSING, LAZYT_CUDA_HOST="1")
    assert text == (
        "the host-executed CUDA device needs a C and a C++ compiler: install gcc and g++ "
        "(or set CC and CXX) 0"
    )
    path = os.environ["PATH"]
    asked = "without('pycuda')" + MISSING
    text = told(asked, LAZYT_CUDA_HOST="pycuda", PATH=path)
    assert text == "PyCUDA is not installed: pip install 'lazyt[cuda]' 0"
    assert told(asked, LAZYT_CUDA_HOST="1", PATH=path) == "None 1"
    fails = script(tmp_path / "cc", "echo it is broken >&2; exit 1")
    text = told(asked, LAZYT_CUDA_HOST="1", PATH=path, CC=fails, LAZYT_CACHE=str(tmp_path))
    assert text.startswith("the host-executed CUDA device cannot be built: compiling ")
    assert text.endswith("it is broken 0")
    text = told(MISSING, LAZYT_CUDA_HOST="maybe")
    assert text == "LAZYT_CUDA_HOST must be 1, pycuda or ctypes, it is 'maybe' 0"


@pytest.mark.skipif(has_driver(), reason="a driver is installed")
def test_torch_cuda_without_a_device() -> None:
    text = told(
        """
        import lazyt as torch
        assert not [m for m in sys.modules if "runtime.cuda" in m or "pycuda" in m]
        cuda = torch.cuda
        assert not [m for m in sys.modules if "runtime.cuda" in m or "pycuda" in m]
        assert not cuda.is_available() and cuda.device_count() == 0 and not cuda.is_initialized()
        assert not cuda.is_bf16_supported()
        assert cuda.memory_allocated() == cuda.max_memory_allocated() == 0
        assert cuda.memory_reserved() == cuda.max_memory_reserved() == 0
        cuda.empty_cache()
        cuda.manual_seed(0)
        cuda.manual_seed_all(0)
        cuda.set_device(-1)
        with cuda.device(-1), cuda.device(None), cuda.stream(None):
            pass
        assert issubclass(cuda.OutOfMemoryError, RuntimeError)
        assert torch.OutOfMemoryError is cuda.OutOfMemoryError
        needs = [cuda.current_device, lambda: cuda.set_device(0), cuda.synchronize, cuda.Event,
                 cuda.Stream, cuda.current_stream, cuda.default_stream, cuda.mem_get_info,
                 cuda.get_device_name, cuda.get_device_capability, cuda.get_device_properties,
                 cuda.init, cuda.initial_seed, cuda.reset_peak_memory_stats,
                 lambda: cuda.device(0).__enter__(), lambda: cuda.can_device_access_peer(0, 1)]
        for call in needs:
            try:
                call()
            except AssertionError as error:
                words, missing = str(error).splitlines()
                assert words == "Torch not compiled with CUDA enabled"
                assert missing.startswith("CUDA cannot be used: no NVIDIA driver was found")
            else:
                raise SystemExit(f"{call} needs no device")
        accelerator = torch.accelerator
        assert not accelerator.is_available() and accelerator.device_count() == 0
        assert accelerator.current_accelerator() is None
        for call in (accelerator.synchronize, accelerator.current_device_index,
                     lambda: accelerator.set_device_index(0)):
            try:
                call()
            except RuntimeError as error:
                assert str(error) == "Cannot access accelerator device when none is available."
            else:
                raise SystemExit(f"{call} needs no device")
        print("done")
        """
    )
    assert text == "done"
