#!/usr/bin/env bash
# advect beside PyTorch on a card: one table, see benches/gpu.py for what it is.
#
#     benches/gpu.sh [--features cuda-cpp] [--device cuda] [--precision bf16] [--csv FILE] [--only TEXT] [--dry-run]
#     benches/gpu.sh --device flex --precision f32 --tiny --no-compile --seconds 0.2   # try both sides out, without a card
#
# FEATURES are those of the crate `advect` (`cuda-cpp`, the default, takes NVRTC; `cuda` downloads LLVM; `flex` is always on).
# PYTHON names an interpreter that has torch, diffusers, safetensors, numpy and pillow. Without it an environment is made
# once, in the user's cache. PROFILE is the build profile, `release` without it (`gpu` builds sooner,
# but the host is then slow to hand a card its work).
set -euo pipefail
cd "$(dirname "$0")/.."

features=cuda-cpp dry= rest=()
while [ $# -gt 0 ]; do
    case $1 in
    --features) features=$2 && shift ;;
    --device)
        rest+=("$1" "$2")
        [ "$2" != flex ] || features=flex
        shift
        ;;
    --dry-run) dry=1 && rest+=("$1") ;;
    *) rest+=("$1") ;;
    esac
    shift
done

# The same libraries as PyTorch's: NVRTC of the installed CUDA, and its headers.
export CUDA_PATH=${CUDA_PATH:-/usr/local/cuda}
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$CUDA_PATH/lib64
build=(cargo bench --profile "${PROFILE:-release}" -p advect --features "$features" --bench gpu --no-run)
packages=(torch==2.8.0 diffusers==0.35.1 safetensors numpy pillow)
if [ -n "$dry" ]; then
    echo "would run: ${build[*]}"
    echo "would run: ${PYTHON:-python3 of an environment with ${packages[*]}} benches/gpu.py PROGRAM ${rest[*]}"
    exec python3 benches/gpu.py PROGRAM "${rest[@]}"
fi

if [ -z "${PYTHON:-}" ]; then
    environment="${XDG_CACHE_HOME:-$HOME/.cache}/advect/compare"
    PYTHON="$environment/bin/python"
    if ! "$PYTHON" -c "import torch, diffusers, safetensors, PIL" 2>/dev/null; then
        python3 -m venv "$environment"
        "$PYTHON" -m pip install --quiet "${packages[@]}"
    fi
fi
program=$("${build[@]}" --message-format json |
    "$PYTHON" -c 'import json, sys; print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "gpu"][-1])')
exec "$PYTHON" benches/gpu.py "$program" "${rest[@]}"
