#!/usr/bin/env bash
# advect beside PyTorch on this processor: one table, see benches/compare.py for what it is.
#
#     benches/compare.sh [--csv FILE] [--only TEXT] [--rounds 9] [--compile]
#
# PYTHON names an interpreter that has torch, diffusers, safetensors, numpy, pillow, torchdiffeq and flow_matching. Without it an environment is made
# once, in the user's cache.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${PYTHON:-}" ]; then
    environment="${XDG_CACHE_HOME:-$HOME/.cache}/advect/compare"
    PYTHON="$environment/bin/python"
    if ! "$PYTHON" -c "import torch, diffusers, safetensors, PIL, torchdiffeq, flow_matching" 2>/dev/null; then
        python3 -m venv "$environment"
        "$PYTHON" -m pip install --quiet torch==2.8.0 diffusers==0.35.1 safetensors numpy pillow torchdiffeq==0.2.5 flow_matching==1.0.10
    fi
fi

program=$(cargo bench --workspace --bench compare --no-run --message-format json |
    "$PYTHON" -c 'import json, sys; print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "compare"][-1])')
exec "$PYTHON" benches/compare.py "$program" "$@"
