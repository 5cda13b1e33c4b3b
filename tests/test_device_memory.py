"""A device without memory left: what the user is told, and that the process goes on.

Each program runs in a process of its own on the host-executed device with little memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from lazyt.runtime.cuda.host import build

pytestmark = pytest.mark.skipif(
    build.cpp_compiler() is None, reason="the host-executed device needs a C++ compiler"
)
MIB = 1 << 20


def printed(program: str, mebibytes: int) -> list[str]:
    """The lines that a program prints, on a device of so much memory."""
    environment = {
        **os.environ,
        "LAZYT_CUDA_HOST": "ctypes",
        "LAZYT_FAKE_CUDA_MEMORY": str(mebibytes * MIB),
    }
    done = subprocess.run(
        [sys.executable, "-c", "import lazyt as torch\n" + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_error_says_how_much_there_is() -> None:
    said = printed(
        """
        x = torch.ones(1024, 1024, device="cuda")
        x.tolist()
        try:
            torch.ones(1 << 17, 1 << 17, device="cuda")[0, 0].item()
        except torch.OutOfMemoryError as error:
            print(isinstance(error, RuntimeError), torch.cuda.OutOfMemoryError is type(error))
            print(error)
        """,
        40,
    )
    assert said[0] == "True True"
    assert said[1].startswith(
        "CUDA out of memory. Tried to allocate 64.00 GiB. GPU 0 has a total capacity of 40.00 MiB"
    )
    assert "4.00 MiB is allocated by tensors" in said[1]


def test_what_was_there_before_is_there_after() -> None:
    said = printed(
        """
        x = torch.arange(6.0, device="cuda")
        y = x * 2
        print(y.tolist(), torch.cuda.memory_allocated())
        for attempt in range(3):
            try:
                torch.zeros(1 << 33, device="cuda")[0].item()
            except RuntimeError:
                print(x.tolist(), y.tolist(), torch.cuda.memory_allocated())
        x += 1
        print((x + y).tolist())
        """,
        16,
    )
    values = "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0] [0.0, 2.0, 4.0, 6.0, 8.0, 10.0] 1024"
    assert said[1:] == [values] * 3 + ["[1.0, 4.0, 7.0, 10.0, 13.0, 16.0]"]
    assert said[0].endswith("10.0] 1024")


def test_freed_memory_is_tried_before_giving_up() -> None:
    said = printed(
        """
        for extent in (3 << 20, 2 << 20, 3 << 20):
            x = torch.full((extent,), 2.0, device="cuda")
            print(x[-1].item())
            x = None
        print(torch.cuda.memory_allocated(), torch.cuda.memory_reserved() <= 16 << 20)
        """,
        16,
    )
    assert said == ["2.0", "2.0", "2.0", "0 True"]


def test_the_statistics_are_those_of_the_questions() -> None:
    said = printed(
        """
        cuda = torch.cuda
        print(cuda.memory_stats())
        x = torch.ones(1 << 18, device="cuda")
        del x
        y = torch.ones(100, device="cuda")
        cuda.synchronize()
        stats = cuda.memory_stats()
        print(stats["allocated_bytes.all.current"], stats["allocated_bytes.all.peak"])
        print(stats["reserved_bytes.all.current"] == cuda.memory_reserved())
        print(stats["reserved_bytes.all.peak"] == cuda.max_memory_reserved())
        print(cuda.memory_summary())
        """,
        16,
    )
    assert said[:4] == ["{}", "512 512", "True", "True"]
    assert said[4] == "memory of cuda:0" and said[6].split() == ["allocated", *["512", "bytes"] * 2]


def test_a_batch_is_fetched_on_a_stream_of_its_own() -> None:
    """The loop of programs that fetch the next batch while they compute."""
    said = printed(
        """
        side = torch.cuda.Stream()

        def fetched(i):
            with torch.cuda.stream(side):
                return torch.full((1000,), float(i)).pin_memory().to("cuda", non_blocking=True)

        print(isinstance(torch.cuda.stream(side), torch.cuda.StreamContext))
        ahead = fetched(0)
        for i in range(1, 5):
            torch.cuda.current_stream().wait_stream(side)
            batch = ahead
            batch.record_stream(torch.cuda.current_stream())
            ahead = fetched(i)
            print((batch * 2).sum().item())
        """,
        16,
    )
    assert said == ["True", "0.0", "2000.0", "4000.0", "6000.0"]
