#!/usr/bin/env python3
"""The CUDA C++ kernels for NVIDIA's Hopper, run on the processor: no card is needed, nor CUDA, only g++.

The texts in crates/advect-kernels/src/cards/hopper are filled in as the Rust there fills them in, every statement of inline assembly becomes a call into
emulator.h, and what whole blocks make of random numbers in cases.h is compared with f64. It finds wrong places, layouts, races, deadlocks and writes outside
of what a kernel owns; it knows nothing of time, registers that run out, and what ptxas makes of a text.

    tools/hopper-emulator/run.py [--seeds 6] [--only "product bf16"]    # all cases, minutes
    tools/hopper-emulator/run.py --mutations                            # that faults put into the texts are found
    tools/hopper-emulator/run.py --loose                                # as if the four warps of a product ran each for itself
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = HERE.parents[1] / "crates/advect-kernels/src/cards/hopper"
NAMES = ["product.cu", "attention.cu", "attention_forward.cu", "attention_queries.cu", "attention_keys.cu", "product.rs", "attention.rs"]


# As text.rs.
def filled(text, kind, words):
    up = {
        "bf16": 'asm("{ .reg .b16 z; mov.b16 z, 0; mov.b32 %0, {z, %1}; }" : "=f"(y) : "h"(x));',
        "f16": 'asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));',
    }[kind]
    text = text.replace("$CVT", f"cvt.rn.{kind}x2.f32").replace("$UP", up)
    for word, by in words:
        text = text.replace(word, str(by))
    return text


def multiply(columns, kind, left_turned, right_turned):
    count = columns // 2
    places = ", ".join(f"%{i}" for i in range(count))
    sums = ", ".join(f'"+f"(d[{i}])' for i in range(count))
    return (
        f'asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{count + 2}, 0; wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {{{places}}}, '
        f'%{count}, %{count + 1}, p, 1, 1, {left_turned}, {right_turned}; }}" : {sums} : "l"(da), "l"(db), "r"(keep));'
    )


def multiply_registers(columns, kind):
    n = columns // 2
    places = ", ".join(f"%{i}" for i in range(n))
    sums = ", ".join(f'"+f"(d[{i}])' for i in range(n))
    return (
        f'asm volatile("{{ .reg .pred p; setp.ne.b32 p, %{n + 5}, 0; wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {{{places}}}, '
        f'{{%{n}, %{n + 1}, %{n + 2}, %{n + 3}}}, %{n + 4}, p, 1, 1, 1; }}" : {sums} : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(db), "r"(keep));'
    )


# Statements of inline assembly.
def quoted(text, i):
    """The end of the string that begins at i."""
    i += 1
    while text[i] != '"':
        i += 2 if text[i] == "\\" else 1
    return i + 1


def call(template, operands):
    """A call for one statement; operands: constraints and expressions."""
    constraints, values = [c for c, _ in operands], [v for _, v in operands]
    t = " ".join(template.split())

    def match(pattern):
        return re.fullmatch(pattern, t)

    def given(*expected):
        if constraints != list(expected):
            sys.exit(f"asm: operands {constraints} of {template!r}")

    if t == "":
        given(*(["+f"] if constraints == ["+f"] else ["+r"]))
        return f"(void)({values[0]})"
    if t == "mbarrier.init.shared::cta.b64 [%0], %1;":
        given("r", "r")
        return f"emu::mbarrier_init({values[0]}, {values[1]})"
    if t == "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;":
        given("r", "r")
        return f"emu::mbarrier_expect({values[0]}, {values[1]})"
    if t == "mbarrier.arrive.shared::cta.b64 _, [%0];":
        given("r")
        return f"emu::mbarrier_arrive({values[0]})"
    if t == "{ .reg .pred p; again%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done%=; bra again%=; done%=: }":
        given("r", "r")
        return f"emu::mbarrier_wait({values[0]}, {values[1]})"
    if t == "fence.mbarrier_init.release.cluster;":
        given()
        return "emu::fence_barriers()"
    if t == "fence.proxy.async.shared::cta;":
        given()
        return "emu::fence_proxy()"
    if t == "st.shared.v4.b32 [%0], {%1, %1, %1, %1};":  # Four times the same.
        given("r", "r")
        return f"emu::store_shared({values[0]}, {values[1]})"
    if t == "wgmma.fence.sync.aligned;":
        given()
        return "emu::wgmma_fence()"
    if t == "wgmma.commit_group.sync.aligned;":
        given()
        return "emu::wgmma_commit()"
    if m := match(r"wgmma\.wait_group\.sync\.aligned (\d+);"):
        given()
        return f"emu::wgmma_wait({m[1]})"
    if m := match(r"cp\.async\.bulk\.tensor\.(\d)d\.shared::cluster\.global\.mbarrier::complete_tx::bytes \[%(\d+)\], \[%(\d+), \{([%\d, ]+)\}\], \[%(\d+)\];"):
        at = [int(x) for x in re.findall(r"%(\d+)", m[4])]
        if len(at) != int(m[1]) or constraints != ["l" if i == int(m[3]) else "r" for i in range(len(at) + 3)]:
            sys.exit(f"asm: operands of {template!r}")
        at = ", ".join(f"(int)({values[i]})" for i in at)
        return f"([&] {{ const int at[] = {{{at}}}; emu::copy_box({m[1]}, {values[int(m[2])]}, {values[int(m[3])]}, {values[int(m[5])]}, at); }}())"
    number = r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k16\.f32\.(b?f16)\.(b?f16) \{([%\d, ]+)\}"
    if m := match(r"\{ \.reg \.pred p; setp\.ne\.b32 p, %(\d+), 0; " + number + r", (%\d+|\{[%\d, ]+\}), %(\d+), p, 1, 1, ([01])(?:, ([01]))?; \}"):
        keep, n, kind, other, d, a, b, first, second = m.groups()
        d, a = [[int(x) for x in re.findall(r"%(\d+)", w)] for w in (d, a)]
        registers = m[6][0] == "{"
        if kind != other or len(d) != int(n) // 2 or int(n) % 8 or any(constraints[i] != "+f" for i in d) or (second is None) != registers:
            sys.exit(f"asm: {template[:80]!r}")
        if [constraints[i] for i in a] != (["r"] * 4 if registers else ["l"]) or constraints[int(b)] != "l" or constraints[int(keep)] != "r":
            sys.exit(f"asm: operands of {template[:80]!r}")
        pointers = ", ".join(f"&({values[i]})" for i in d)
        left = f"const uint32_t a[] = {{{', '.join(f'(uint32_t)({values[i]})' for i in a)}}};" if registers else "const uint32_t *a = nullptr;"
        left_at = 0 if registers else values[a[0]]
        turned = f"false, {first}" if registers else f"{first}, {second}"
        return (
            f"([&] {{ float *const r[] = {{{pointers}}}; {left} emu::wgmma({n}, {'true' if kind == 'bf16' else 'false'}, r, a, {left_at}, {values[int(b)]}, "
            f"({values[int(keep)]}) != 0, {turned}); }}())"
        )
    if m := match(r"cvt\.rn\.(b?f16)x2\.f32 %0, %1, %2;"):
        given("=r", "f", "f")  # The second goes to the upper half.
        return f"{values[0]} = emu::pack({values[1]}, {values[2]}, {'true' if m[1] == 'bf16' else 'false'})"
    if t == "cvt.f32.f16 %0, %1;":
        given("=f", "h")
        return f"{values[0]} = emu::half_to_float({values[1]})"
    if t == "{ .reg .b16 z; mov.b16 z, 0; mov.b32 %0, {z, %1}; }":
        given("=f", "h")
        return f"{values[0]} = emu::bits_float((uint32_t)(uint16_t)({values[1]}) << 16)"
    if t == "ex2.approx.ftz.f32 %0, %1;":
        given("=f", "f")
        return f"{values[0]} = emu::power({values[1]})"
    sys.exit(f"asm: unknown statement {template!r}")


def without_assembly(text):
    parts, i = [], 0
    for m in re.finditer(r"\basm\b\s*(?:volatile\s*)?\(", text):
        if m.start() < i:
            sys.exit("asm in asm")
        parts.append(text[i : m.start()])
        # Sections between colons: strings with expressions.
        i, sections = m.end(), [[]]
        while text[i] != ")":
            if text[i].isspace() or text[i] == ",":
                i += 1
            elif text[i] == ":":
                sections.append([])
                i += 1
            elif text[i] == '"':
                end = quoted(text, i)
                string, i = text[i + 1 : end - 1], end
                if text[i] == "(":
                    depth, begin = 0, i
                    while True:
                        depth += {"(": 1, ")": -1}.get(text[i], 0)
                        i += 1
                        if depth == 0:
                            break
                    sections[-1].append((string, text[begin + 1 : i - 1]))
                else:
                    sections[-1].append((string, None))
            else:
                sys.exit(f"asm: {text[m.start():i + 20]!r}")
        i += 1
        if len(sections[0]) != 1 or len(sections) > 4:
            sys.exit(f"asm: {text[m.start():i]!r}")
        operands = [o for s in sections[1:3] for o in s]
        if any(v is None for _, v in operands) or any(v is not None or c != "memory" for s in sections[3:] for c, v in s):
            sys.exit(f"asm: {text[m.start():i]!r}")
        parts.append(call(sections[0][0][0], operands))
    parts.append(text[i:])
    text = "".join(parts)
    if re.search(r"\basm\b|\$[A-Z]", text):
        sys.exit("asm or a word with a dollar is left")
    return text


# Kernels.
def tiles(texts):
    """Columns of a tile and steps of the ring, from product.rs."""
    line = re.search(r"const TILES: .*? = \[(.*?)\];", texts["product.rs"])[1]
    return {int(w): int(s) for w, s in re.findall(r"\((\d+), (\d+), [\d.]+\)", line)}


def product(texts, index, turned, wide, kind, bias, single, after="Nothing", way="MATRIX"):
    steps = tiles(texts)[wide]
    left, right = int(turned == "Left"), int(turned != "Right")
    words = [
        ("$WIDE_TILE", wide),
        ("$STAGES", steps),
        ("$LEFT", left),
        ("$RIGHT", right),
        ("$WGMMA", multiply(wide, kind, left, right)),
        ("$SINGLE", int(single)),
        ("$BIAS", int(bias)),
        ("$GELU", int(after != "Nothing")),
        ("$KEPT", int(after == "GeluOfKept")),
        ("$WAY", way),
    ]
    text = without_assembly(filled(texts["product.cu"], kind, words))
    memory = steps * (2 * 64 * (128 + wide) + 16) + 1024
    name = f"{kind} {turned} {wide}{' bias' if bias else ''}{' single' if single else ''}{' ' + after if after != 'Nothing' else ''}{' ' + way.lower() if way != 'MATRIX' else ''}"
    flag = lambda on: "true" if on else "false"
    return (
        f"static void product_{index}(const void *given) {{\nconst ProductArguments &g = *(const ProductArguments *)given;\n{{\n{text}\n"
        f"Product::run(&g.a, &g.b, g.out, g.kept, g.bias, g.m, g.n, g.k, g.pitch, g.entries, g.parts, {{g.images[0], g.images[1], g.images[2], g.images[3], g.images[4], g.images[5], g.images[6], g.images[7], g.images[8], g.images[9], g.images[10]}}, (char *)g.memory);\n}}\n}}\n"
        f'static const ProductKernel kernel_{index} = {{"{name}", product_{index}, {wide}, {steps}, {left}, {right}, {flag(kind == "bf16")}, {flag(bias)}, {flag(single)}, {flag(after != "Nothing")}, {flag(after == "GeluOfKept")}, {memory}}};\n'
    )


def attention(texts, kind, size):
    given = re.search(r'let arguments = "(.*?)";', texts["attention.rs"], re.S)[1]
    names = ["g.out", "g.sums", "g.deltas", "g.memory", "g.map", "g.g_map", "g.o", "g.g", "g.batch", "g.tokens", "g.heads", "g.scale", "g.unit"]
    for i, name in enumerate(names):
        given = given.replace(f"{{{i}}}", name)
    given = given.replace("*g = g.g;", "*g = gradient;")  # The kernel's name for it hides the struct's.
    result, memory = "", {}
    for part in ["forward", "queries", "keys"]:
        scores = 64 if part == "forward" and size <= 64 else 32
        steps = 3 if part != "forward" and size <= 64 else 2
        blocks = (1 if part == "forward" else 2) + steps * 2 * (2 * scores // 64)
        memory[part] = blocks * 64 * 64 * 2 * ((size + 63) // 64) + 64 + 1024
        words = [("$SIZE", size), ("$STAGES", steps), ("$WORDS", scores // 2), ("$SCORES", scores)]
        words += [("$ROWS", multiply(2 * scores, kind, "0", "0")), ("$ADD", multiply_registers(size, kind))]
        base, body = (without_assembly(filled(texts[f"attention{name}.cu"], kind, words)) for name in ["", f"_{part}"])
        arguments = given.replace("g.", "given.")
        result += (
            f"static void attention_{part}_{kind}_{size}(const void *pointer) {{\nconst AttentionArguments &given = *(const AttentionArguments *)pointer;\nconst void *gradient = given.g;\n"
            f"{{\n{base}\n{arguments}\n{body}\n}}\n}}\n"
        )
    kinds = "true" if kind == "bf16" else "false"
    names = ", ".join(f"attention_{part}_{kind}_{size}" for part in ["forward", "queries", "keys"])
    return result + f"static const AttentionKernels attention_{kind}_{size} = {{{kinds}, {size}, {names}, {memory['forward']}, {memory['queries']}}};\n"


ARGUMENTS = """
struct ProductArguments { emu::TensorMap a, b; char *out, *kept, *bias; uint32_t m, n, k, pitch, entries, parts, images[11]; char *memory; };
struct AttentionArguments { emu::TensorMap map, g_map; char *out; float *sums, *deltas; char *o, *g; int batch, tokens, heads; float scale, unit; char *memory; };
static void run_cases();
"""

# What and for which sizes: m, n, k, entries, parts, blocks, numbers between rows.
PRODUCTS = {}
for turned in ["Neither", "Left", "Right"]:
    # The last size of what the copy engine reads, and n, are multiples of 8.
    m, k = ([104, 136, 304], [77, 40, 130]) if turned == "Left" else ([100, 129, 300], [72, 40, 136])
    for wide in [64, 128, 192, 256]:
        cases = [(m[2], 200, k[2], 1, 1, 100, 0), (m[0], 72, k[1], 3, 1, 2, 8), (m[1], 8, k[0], 2, 1, 100, 0)]
        PRODUCTS[turned, wide, "bf16", turned == "Neither", False] = cases
        PRODUCTS[turned, wide, "f16", turned == "Right", False] = cases[:1]
    # More steps than the ring holds, and more tiles than blocks.
    PRODUCTS[turned, 64, "bf16", False, False] = [(m[2], 264, 64 * 9 + k[1], 1, 1, 3, 0), (m[1], 136, 200, 5, 1, 3, 0)]
    PRODUCTS[turned, 256, "bf16", False, False] = [(m[2], 520, 64 * 4 + k[1], 1, 1, 3, 8), (m[2], 264, k[0], 4, 1, 3, 0), (1160 if turned == "Left" else 1157, 520, k[1], 1, 1, 7, 0)]
    PRODUCTS[turned, 192, "f16", False, False] = [(m[1], 400, 64 * 5 + 8, 2, 1, 3, 0)]
    for wide in [64, 128, 192, 256]:
        for kind in ["bf16", "f16"] if wide == 128 else ["bf16"]:
            PRODUCTS[turned, wide, kind, False, True] = [(m[2], 264, 64 * 9 + k[1], 1, 5, 3, 0), (m[1], 72, 64 * 4, 1, 2, 100, 0), (m[0], 136, 64 * 6 + 8, 1, 3, 1, 0)]
for after in ["Gelu", "GeluOfKept"]:
    for wide, kind, bias in [(64, "f16", True), (128, "bf16", True), (192, "bf16", False), (256, "bf16", True)]:
        PRODUCTS["Neither", wide, kind, bias, False, after] = [(300, 264, 72, 1, 1, 2, 0), (129, 72, 136, 2, 1, 100, 8)]
# Images, height, width, channels in and out, height and width of the kernel, padding above and left, parts, blocks, numbers between pixels.
CONVOLUTIONS = {}
SHAPES = [
    (2, 32, 32, 24, 72, 3, 3, 1, 1, 1, 2, 0),  # Four rows of an image in a tile.
    (3, 8, 8, 136, 40, 3, 3, 1, 1, 1, 3, 8),  # Two images in a tile, one too many.
    (2, 10, 13, 16, 24, 3, 3, 1, 1, 1, 100, 8),  # Sizes that fill no tile.
    (1, 5, 150, 8, 8, 3, 3, 1, 1, 1, 4, 0),  # Wider than a tile.
    (5, 6, 7, 72, 8, 3, 2, 0, 1, 1, 2, 0),  # A kernel that is not square, less padding than it has arms.
    (2, 4, 4, 64, 200, 1, 1, 0, 0, 1, 1, 0),
]
for way in ["IMAGE", "SLOPE", "KERNEL"]:
    turned = {"IMAGE": "Right", "SLOPE": "Neither", "KERNEL": "Left"}[way]
    for wide, kind in [(64, "bf16"), (128, "f16"), (256, "bf16")]:
        CONVOLUTIONS[turned, wide, kind, way == "IMAGE", False, "Nothing", way] = SHAPES if wide == 64 else SHAPES[:3]
CONVOLUTIONS["Left", 192, "bf16", False, True, "Nothing", "KERNEL"] = [(2, 32, 32, 24, 72, 3, 3, 1, 1, 5, 3, 0), (5, 8, 8, 136, 40, 3, 3, 1, 1, 2, 3, 8), (3, 9, 13, 16, 24, 3, 3, 1, 1, 3, 4, 0)]
PRODUCTS |= CONVOLUTIONS
# Batch, heads, tokens, blocks in a row of the grid, numbers between rows, size of the numbers, how far keys and queries are apart.
ATTENTION = [(2, 3, 200, 5, 0, 1, 0), (1, 2, 64, 0, 8, 1, 0), (2, 2, 7, 3, 0, 1, 0), (1, 2, 130, 4, 0, 1.3, 0), (1, 1, 320, 0, 8, 1, 0), (1, 2, 128, 0, 0, 1, 0)]
ATTENTION += [(1, 1, 257, 2, 0, 1, 0), (1, 1, 449, 0, 0, 0.7, 0), (1, 1, 100, 0, 0, 3, 0), (1, 2, 71, 5, 0, 1, 4), (1, 1, 200, 0, 0, 1, 2), (1, 1, 577, 0, 0, 0.5, 0.5)]
# Heads of other sizes: smaller than a slab, with a bit of a second one (DiT-XL's), with half of it, with all of it.
SIZES = [(2, 3, 200, 5, 0, 1, 0), (1, 2, 71, 5, 8, 1, 2), (1, 1, 449, 0, 0, 0.7, 0)]
ATTENTIONS = {("bf16", 64): ATTENTION, ("f16", 64): ATTENTION, ("f16", 72): SIZES[:2]}
ATTENTIONS |= {("bf16", size): SIZES if size == 72 else SIZES[:2] for size in [8, 32, 40, 72, 96, 128]}
ATTENTION_GROUPS = [[key for key in ATTENTIONS if (key[1] == 64) == usual] for usual in [True, False]]


def source(texts, products, attentions):
    parts = ['#include <algorithm>\n#include <array>\n#include "emulator.h"\n', ARGUMENTS, '#include "cases.h"\n']
    calls = []
    for i, (key, cases) in enumerate(products.items()):
        parts.append(product(texts, i, *key))
        case = "convolution_case" if key in CONVOLUTIONS else "product_case"
        calls += [f"{case}(kernel_{i}, {{{', '.join(map(str, c))}}});" for c in cases]
    for (kind, size), cases in attentions.items():
        parts.append(attention(texts, kind, size))
        calls += [f"attention_case(attention_{kind}_{size}, {{{', '.join(map(str, c))}}});" for c in cases]
    parts.append("static void run_cases() {\n" + "\n".join(calls) + "\n}\n")
    return "".join(parts)


def build(text, folder, name):
    path = pathlib.Path(folder) / name
    path.with_suffix(".cpp").write_text(text)
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-value", "-Wno-unused-but-set-variable", "-Wno-unused-variable", "-Wno-sign-compare"]
    command += ["-Wno-maybe-uninitialized", "-Wno-uninitialized", "-Wno-class-memaccess", f"-I{HERE}", "-o", str(path), str(path.with_suffix(".cpp"))]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        return None, result.stderr
    return path, result.stderr


# Faults: the file, what is replaced (the first time it is there), by what, and the cases that must find it.
NEITHER, RIGHT = [{(t, 128, "bf16", False, False): [(300, 264, 64 * 9 + 40, 1, 1, 2, 0)]} for t in ["Neither", "Right"]]
LEFT = {("Left", 128, "bf16", False, False): [(304, 264, 64 * 9 + 40, 1, 1, 2, 0)]}
BIAS = {("Neither", 128, "bf16", True, False): [(300, 264, 72, 1, 1, 2, 0)]}
GELU = {("Neither", 128, "bf16", True, False, "GeluOfKept"): [(300, 264, 72, 1, 1, 2, 0)]}
IMAGE, SLOPE, KERNEL = [{key: [(2, 10, 13, 16, 24, 3, 3, 1, 1, 1, 100, 8), (1, 5, 150, 8, 8, 3, 3, 1, 1, 1, 4, 0)] for key in CONVOLUTIONS if key[1] == 64 and key[6] == way} for way in ["IMAGE", "SLOPE", "KERNEL"]]
DEEP, ODD = [{key: [case] for key in IMAGE} for case in [(3, 8, 8, 136, 40, 3, 3, 1, 1, 1, 3, 8), (5, 6, 7, 72, 8, 3, 2, 0, 1, 1, 2, 0)]]
SINGLE = {("Neither", 128, "bf16", False, True): [(300, 264, 64 * 9 + 40, 1, 3, 2, 0)]}
TALL = {("Neither", 256, "bf16", False, False): [(1157, 520, 40, 1, 1, 7, 0)]}
HEADS = [(2, 3, 200, 5, 0, 1, 0), (1, 1, 449, 0, 0, 0.7, 0)]
SLABS = {("bf16", 72): [(1, 2, 130, 0, 0, 1, 0)]}
APART = [(1, 2, 71, 5, 0, 1, 4)]
LOOSE = "no wait for the others"  # Four warps that go on together need none.
MUTATIONS = [
    ("product.cu", "(uint64_t)(1024 >> 4) << 32", "(uint64_t)(512 >> 4) << 32", NEITHER, "stride of a descriptor"),
    ("product.cu", "db = descriptor(b, 8192)", "db = descriptor(b, 4096)", NEITHER, "leading offset of a descriptor"),
    ("product.cu", "(uint64_t)1 << 62", "(uint64_t)2 << 62", NEITHER, "other swizzling"),
    ("product.cu", "wait(empty(s), phase ^ 1);", "", NEITHER, "no wait for an empty place"),
    ("product.cu", "wait(empty(s), phase ^ 1);", "wait(empty(s), phase);", NEITHER, "the other phase of an empty place"),
    ("product.cu", "wait(full(s), phase);", "", NEITHER, "no wait for a full place"),
    ("product.cu", "init(empty(s), 8)", "init(empty(s), 7)", NEITHER, "one arrival too few"),
    ("product.cu", "expect(full(s), STAGE);", "expect(full(s), STAGE - 128);", NEITHER, "other bytes expected"),
    ("product.cu", "i * BK, at.m, entry", "at.m, i * BK, entry", NEITHER, "coordinates of the left matrix"),
    ("product.cu", "at.n + 64 * j, i * BK, entry", "i * BK, at.n + 64 * j, entry", NEITHER, "coordinates of the right matrix"),
    ("product.cu", "at.m + 64 * j, i * BK, entry", "at.m + 64 * j, i * BK, 0 * entry + at.z + 1", LEFT, "coordinate of the entry"),
    ("product.cu", "LEFT_TURNED ? 128 : 2", "LEFT_TURNED ? 64 : 2", LEFT, "advance of the turned left matrix"),
    ("product.cu", "LEFT_TURNED ? 128 : 2", "LEFT_TURNED ? 128 : 4", NEITHER, "advance of the left matrix"),
    ("product.cu", "RIGHT_TURNED ? 128 : 2", "RIGHT_TURNED ? 128 : 1", RIGHT, "advance of the right matrix"),
    ("product.cu", "descriptor(a + group * 8192", "descriptor(a + group * 4096", NEITHER, "rows of the second group"),
    ("product.cu", "i > from || j > 0)", "i > from)", NEITHER, "sums begun anew"),
    ("product.cu", "i > from || j > 0)", "1)", NEITHER, "sums of the tile before kept"),
    ("product.cu", 'asm volatile("wgmma.fence.sync.aligned;" ::: "memory");', "", NEITHER, "no wgmma.fence"),
    ("product.cu", "arrive(empty(before));\n        before = s;", "arrive(empty(s));\n        before = s;", NEITHER, "another place given back"),
    ("product.cu", "wgmma.wait_group.sync.aligned 1;", "wgmma.wait_group.sync.aligned 2;", NEITHER, "place given back too early"),
    ("product.cu", "asm volatile(\"wgmma.wait_group.sync.aligned 1;\"", "d[0] *= 2; asm volatile(\"wgmma.wait_group.sync.aligned 1;\"", NEITHER, "sums touched too early"),
    ("product.cu", 'asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");', "", NEITHER, "no wait for the products"),
    ("product.cu", "if (threadIdx.x % 32 == 0) arrive(empty(before));\n      uint32_t lane", "uint32_t lane", NEITHER, "last place not given back"),
    ("product.cu", "if (++s == STAGES) { s = 0; phase ^= 1; }\n      }\n      asm", "if (++s == STAGES) { s = 0; }\n      }\n      asm", NEITHER, "phase not turned"),
    ("product.cu", '"f"(high), "f"(low)', '"f"(low), "f"(high)', NEITHER, "halves swapped"),
    ("product.cu", "bool there = c < end && inside[r];", "bool there = c < end;", NEITHER, "rows beyond the last"),
    ("product.cu", "if (c < end && inside[r]) *(float2", "if (c < end) *(float2", SINGLE, "rows beyond the last, parts"),
    ("product.cu", "bool there = c < end && inside[r];", "bool there = inside[r];", NEITHER, "columns beyond the last"),
    ("product.cu", "if (odd) p[i] = other; else p[i | b] = other;", "if (odd) p[i | b] = other; else p[i] = other;", NEITHER, "blocks of eight turned wrongly"),
    ("product.cu", "8 * tiles_n, first", "4 * tiles_n, first", TALL, "tiles done twice"),
    ("product.cu", "min(tiles_m - first, 8u)", "8u", TALL, "tiles beyond the last row"),
    ("product.cu", "t += up(both >> 16)", "t += up(both & 0xffff)", BIAS, "bias of the neighbour"),
    ("product.cu", "z + start[r] + c", "y + start[r] + c", GELU, "kept in the place of the result"),
    ("product.cu", "pack(gelu(s), gelu(t))", "pack(gelu(t), gelu(s))", GELU, "functions swapped"),
    ("product.cu", "-2.302208198f", "-2.2f", GELU, "another function"),
    ("product.cu", "turn(f, q);", "", GELU, "functions not turned"),
    ("product.cu", "if (there) *(uint4 *)(y", "*(uint4 *)(y", GELU, "functions beyond the last"),
    ("product.cu", "clear(base + i);", "", IMAGE, "rows of no pixel not cleared"),
    ("product.cu", 'clear(base + i);\n      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");', "clear(base + i);", IMAGE, "rows cleared without a fence"),
    ("product.cu", "place * g.channels + first, at.n", "place * g.channels, at.n", DEEP, "chunk of the kernel's channels"),
    ("product.cu", "g.places - 1 - place", "place", SLOPE, "kernel not turned round"),
    ("product.cu", "load_pixels(a, map_a, full(s), first, (int)(p.x + place % g.kernel_wide) - (int)g.left", "load_pixels(a, map_a, full(s), first, (int)(p.x + place % g.kernel_wide) - (int)g.above", ODD, "padding above for that left"),
    ("product.cu", "(int)(p.y + place / g.kernel_wide) - (int)g.above, p.image);\n              // Behind", "(int)(p.y + place / g.places) - (int)g.above, p.image);\n              // Behind", ODD, "rows of the kernel"),
    ("product.cu", "expect(full(s), pixels * 128 + BN * 128);", "expect(full(s), STAGE);", IMAGE, "bytes of a whole tile expected"),
    ("product.cu", "inside[r] = i < pixels && p.x", "inside[r] = p.x", IMAGE, "rows that are no pixels written"),
    ("product.cu", "p.x < g.wide && ", "", IMAGE, "pixels beyond the right edge"),
    ("product.cu", "p.y < g.high && ", "", IMAGE, "pixels beyond the lower edge"),
    ("product.cu", " && p.image < g.images", "", DEEP, "pixels beyond the last image"),
    ("product.cu", "end = g.channels;", "end = n;", KERNEL, "places of the kernel that run over"),
    ("product.cu", "apart = at.n / span * g.channels", "apart = at.n", KERNEL, "place of a place of the kernel"),
    ("product.cu", "first + 64 * j, (int)(p.x", "at.n + 64 * j, (int)(p.x", KERNEL, "channels of the pixels"),
    ("product.cu", "expect(full(s), pixels * 128 * (BM / 64 + BN / 64));", "expect(full(s), STAGE);", KERNEL, "bytes of a whole step expected"),
    ("product.cu", "to = min(from + of_part, steps), before", "to = from + of_part, before", SINGLE, "steps beyond the last"),
    ("product.cu", "+ 1023) & ~1023u", "+ 15) & ~15u", NEITHER, "no multiple of 1024"),
    ("product.cu", "__syncthreads();", "", NEITHER, "barriers used before they are there"),
    ("attention.cu", "(uint64_t)(1024 >> 4) << 32", "(uint64_t)(2048 >> 4) << 32", HEADS, "stride of a descriptor"),
    ("attention.cu", '"f"(high), "f"(low)', '"f"(low), "f"(high)', HEADS, "halves swapped"),
    ("attention.cu", "if (row + 8 < count)", "", HEADS, "rows beyond the last"),
    ("attention.cu", '"r"(head), "r"(part)', '"r"(part), "r"(head)', HEADS, "coordinates swapped"),
    ("attention.cu", "load(to + i * slab,", "load(to,", SLABS, "slabs in one place"),
    ("attention.cu", "64 * i, head", "0 * i, head", SLABS, "the first slab twice"),
    ("attention.cu", "(uint64_t)(slab >> 4) << 16", "(uint64_t)1 << 16", SLABS, "second slab of what is turned"),
    ("attention.cu", "STEPS = (SIZE + 15) / 16", "STEPS = SIZE / 16", SLABS, "last step left out"),
    ("attention.cu", "b + j / 4 * slab", "b", SLABS, "first slab of the right for the second"),
    ("attention.cu", "a + j / 4 * SLAB", "a", SLABS, "first slab of the left for the second"),
    ("attention.cu", "if (j + q >= SIZE / 8) continue;", "", SLABS, "numbers beyond the head"),
    ("attention_forward.cu", ">= tokens) s[j] = -1e30f", ">= tokens + 64) s[j] = -1e30f", HEADS, "no mask for the last keys"),
    ("attention_forward.cu", "j / 4 * 8 + 2 * q + j % 2 >= tokens", "j / 4 * 8 + 2 * q >= tokens", [(1, 1, 7, 0, 0, 1, 0)], "mask by pairs"),
    ("attention_forward.cu", "sum[r] *= shrink[r];", "", HEADS, "sums not shrunk"),
    ("attention_forward.cu", "for (int j = 0; j < Base::SIZE / 2; j++) o[j] *= shrink[j / 2 % 2];", ";", HEADS, "outputs not shrunk"),
    ("attention_forward.cu", "Base::descriptor(at + BLOCK, SLAB) + 128 * j", "Base::descriptor(at + BLOCK, SLAB) + 2 * j", HEADS, "advance of the values"),
    ("attention_forward.cu", "head, 2, i * K", "head, 1, i * K", HEADS, "keys for values"),
    ("attention_forward.cu", "i / STAGES & 1", "i & 1", HEADS, "phase"),
    ("attention_forward.cu", "__syncthreads();\n      if (threadIdx.x == 0) fetch", "if (threadIdx.x == 0) fetch", HEADS, LOOSE),
    ("attention_forward.cu", "Base::finish();\n    Base::fence_scores(s);", "Base::fence_scores(s);", HEADS, "scores not waited for"),
    ("attention_forward.cu", "Base::start();\n#pragma unroll\n    for (int j = 0; j < K / 16", "\n#pragma unroll\n    for (int j = 0; j < K / 16", HEADS, "no wgmma.fence"),
    ("attention_forward.cu", "Base::commit();\n    Base::finish();\n    Base::fence(o);", "Base::commit();\n    for (int j = 0; j < 32; j++) o[j] *= 0.5f;\n    Base::finish();\n    for (int j = 0; j < 32; j++) o[j] *= 2;", HEADS, "outputs touched too early"),
    ("attention_forward.cu", "if (entry >= batch) return;", "", HEADS, "blocks beyond the batch"),
    ("attention_forward.cu", "i < min(STAGES, steps)", "i < min(STAGES + 1, steps)", HEADS, "a block too many in the ring"),
    ("attention_forward.cu", "+ __log2f(sum[r])", "+ sum[r]", HEADS, "sums of weights"),
    ("attention_queries.cu", "if (c + 1 >= tokens) v = 0;", "", APART, "no mask for the last key"),
    ("attention_queries.cu", "if (c >= tokens) u = 0;", "", APART, "no mask for the last keys"),
    ("attention_queries.cu", "(t[j] - delta[r])", "t[j]", HEADS, "no delta"),
    ("attention_queries.cu", "i > 0 || j > 0);\n    Base::commit();\n    Base::finish();\n    Base::fence(dq);", "j > 0);\n    Base::commit();\n    Base::finish();\n    Base::fence(dq);", HEADS, "sums begun anew"),
    ("attention_queries.cu", "__syncthreads();\n      if (threadIdx.x == 0) fetch", "if (threadIdx.x == 0) fetch", HEADS, LOOSE),
    ("attention_queries.cu", "j < Base::SIZE / 8; j += 4", "j < Base::SIZE / 8; j += 8", HEADS, "numbers of delta"),
    ("attention_keys.cu", "c + e < tokens ? logs[c + e] : 1e30f", "logs[c + e]", HEADS, "sums of queries that are not there"),
    ("attention_keys.cu", "3 + 1) * heads", "3 + 2) * heads", HEADS, "place of the keys"),
    ("attention_keys.cu", "Base::descriptor(at + BLOCK, SLAB) + 128 * j, i > 0", "Base::descriptor(at, SLAB) + 128 * j, i > 0", HEADS, "queries for gradients"),
    ("attention_keys.cu", "__syncthreads();\n      if (threadIdx.x == 0) fetch", "if (threadIdx.x == 0) fetch", HEADS, LOOSE),
    ("attention_keys.cu", "p[j / 2 + r] = Base::pack(u, v);", "p[j / 2 + r] = Base::pack(v, u);", HEADS, "halves swapped"),
]


def mutations(texts, folder, only):
    missed = 0
    for i, (name, old, new, cases, what) in enumerate(MUTATIONS):
        if only and only not in f"{name} {what}":
            continue
        if old not in texts[name]:
            print(f"not there   {name}: {what}")
            missed += 1
            continue
        changed = {**texts, name: texts[name].replace(old, new, 1)}
        if isinstance(cases, list):
            cases = {("bf16", 64): cases}
        heads = len(next(iter(cases))) == 2
        path, errors = build(source(changed, {}, cases) if heads else source(changed, cases, {}), folder, f"mutation{i}")
        if path is None:
            print(f"not built   {name}: {what}\n{errors[:2000]}")
            missed += 1
            continue
        try:
            result = subprocess.run([str(path), "seeds=12"] + ["loose"] * (what == LOOSE), capture_output=True, text=True, timeout=300)
            found = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
            if result.returncode and found:
                print(f"found       {name}: {what}: {found[0].split(': ', 1)[1]}", flush=True)
                continue
            print(f"NOT FOUND   {name}: {what}", flush=True)
        except subprocess.TimeoutExpired:
            print(f"no end      {name}: {what}", flush=True)
        missed += 1
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="runs of each case, each with another order")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="a part of a case's (or fault's) name")
    parser.add_argument("--loose", action="store_true")
    parser.add_argument("--mutations", action="store_true")
    parser.add_argument("--keep", help="a folder for what is built")
    given = parser.parse_args()
    texts = {name: (TEXTS / name).read_text() for name in NAMES}
    with tempfile.TemporaryDirectory() as folder:
        folder = given.keep or folder
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        if given.mutations:
            sys.exit(1 if mutations(texts, folder, given.only) else 0)
        words = [f"seeds={given.seeds}", f"first={given.first}"] + ["loose"] * given.loose + [given.only] * bool(given.only)
        failed = 0
        groups = [({k: v for k, v in PRODUCTS.items() if k[0] == turned}, {}) for turned in ["Neither", "Left", "Right"]] + [({}, {key: ATTENTIONS[key] for key in keys}) for keys in ATTENTION_GROUPS]
        for i, (products, attentions) in enumerate(groups):
            path, errors = build(source(texts, products, attentions), folder, f"cases{i}")
            if path is None:
                sys.exit(errors)
            print(errors, end="", file=sys.stderr)
            failed += subprocess.run([str(path)] + words).returncode != 0
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
