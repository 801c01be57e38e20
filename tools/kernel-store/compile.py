#!/usr/bin/env python3
"""Compiles the sources of a kernel store (see nvrtc.c) that have no machine code yet, on all processors.

    NVRTC_REAL=.../libnvrtc.so.13 python tools/kernel-store/compile.py STORE INCLUDE [ARCHITECTURE]

INCLUDE holds cuda_fp16.h and the folder cccl. ARCHITECTURE is sm_90a (an H100 or H200) without it.
"""

import ctypes
import os
import sys
from multiprocessing import Pool
from pathlib import Path

STORE, INCLUDE = Path(sys.argv[1]), sys.argv[2]
OPTIONS = [
    f"--gpu-architecture={sys.argv[3] if len(sys.argv) > 3 else 'sm_90a'}",
    f"--include-path={INCLUDE}",
    f"--include-path={INCLUDE}/cccl",
]


def result(library, program, what):
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    data = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, data)
    return data.raw


def compile(path):
    library = ctypes.CDLL(os.environ.get("NVRTC_REAL", "libnvrtc.so.13"))
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), path.read_bytes(), None, 0, None, None)
    options = (ctypes.c_char_p * len(OPTIONS))(*[option.encode() for option in OPTIONS])
    failed = library.nvrtcCompileProgram(program, len(OPTIONS), options)
    log = result(library, program, "ProgramLog").decode() if failed else None
    if not failed:
        whole = path.with_suffix(".part")
        whole.write_bytes(result(library, program, "CUBIN"))
        whole.rename(path.with_suffix(".cubin"))
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return path.name, log


def main():
    missing = [path for path in sorted(STORE.glob("*.cu")) if not path.with_suffix(".cubin").exists()]
    with Pool(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        for done, (name, log) in enumerate(pool.imap_unordered(compile, missing), 1):
            if log:
                print(f"{name}: {log}")
            if done % 50 == 0 or done == len(missing):
                print(f"{done} of {len(missing)}", flush=True)


if __name__ == "__main__":
    main()
