#!/usr/bin/env bash
# Builds PyCUDA from its sdist and installs it for the given Python; needs no GPU and no driver.
#
#     .ci/pycuda.sh .venv/bin/python
#
# About two minutes the first time; pip keeps the wheel it built.
set -euo pipefail
python=$(realpath -s "${1:?usage: pycuda.sh PYTHON}")
repository=$(cd "$(dirname "$0")/.." && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
version=2026.1

# PyCUDA guesses the toolkit as the folder above the nvcc on PATH, which is wrong where that nvcc is
# a wrapper. nvcc itself knows its root; without nvcc the headers come as packages (cuda.h from the
# first, cudaProfiler.h from the second).
root=""
if command -v nvcc >/dev/null; then
    root=$(nvcc --dryrun -x cu -E /dev/null 2>&1 | sed -n 's/^#\$ TOP=//p' | head -n 1)
fi
if [ ! -f "$root/include/cuda.h" ]; then
    "$python" -m pip install -q --no-deps --target "$build/headers" \
        'nvidia-cuda-runtime>=13,<14' 'nvidia-cuda-profiler-api>=13,<14'
    root=$(dirname "$(dirname "$(find "$build/headers" -name cuda.h | head -n 1)")")
fi
echo "CUDA headers: $root/include"

# The extension links with -lcuda, the driver's library, which no toolkit has. The driver for the host
# has the symbols and the soname: an empty stub would link too, but --as-needed would then leave out
# the entry NEEDED libcuda.so.1, and the extension would find no driver at run time.
mkdir "$build/stub"
"${CC:-cc}" -std=gnu11 -O1 -fPIC -shared -Wl,-soname,libcuda.so.1 \
    -o "$build/stub/libcuda.so" "$repository/runtime/cuda/host/driver.c" -ldl -lpthread

# PyCUDA's build reads its settings from the home folder, so it gets one of its own. CURAND is off
# since the toolkit may come without it and nothing here calls it; -Wl,-s leaves out symbols (from 12
# to half a megabyte), -O1 halves the time that Boost.Python takes.
mkdir "$build/home"
cat >"$build/home/.aksetup-defaults.py" <<SETTINGS
CUDA_ROOT = "$root"
CUDA_INC_DIR = ["$root/include"]
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = ["$build/stub"]
CXXFLAGS = ["-O1", "-g0", "-w"]
LDFLAGS = ["-Wl,-s"]
SETTINGS

# pip's own settings and cache stay where they are, although the home folder is another.
export XDG_CONFIG_HOME=${XDG_CONFIG_HOME:-$HOME/.config} XDG_CACHE_HOME=${XDG_CACHE_HOME:-$HOME/.cache}

# numpy is named since PyCUDA does not declare it.
HOME="$build/home" "$python" -m pip install -q numpy "pycuda==$version"
"$python" -c "import pycuda; print('PyCUDA', pycuda.VERSION_TEXT)"
