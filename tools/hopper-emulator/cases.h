/* The kernels' cases: random numbers, what the kernels make of them in the emulator, and the same in f64 without tricks. run.py puts the kernels before it. */

using emu::Buffer, emu::Options, emu::Output, emu::Random, emu::fail, emu::failure;

inline int failures, passed;
inline std::string only;
inline uint64_t runs_of_case = 6, first_seed = 0;
inline bool loose;

struct Error {
  double worst = 0, squares = 0, of = 0;
  void add(double got, double expected, double tolerance) {
    double d = fabs(got - expected);
    if (!(d < 1e30)) d = 1e30;
    worst = std::max(worst, d / tolerance);
    squares += d * d;
    of += expected * expected;
  }
  double relative() const { return sqrt(squares / (of + 1e-300)); }
};

// 18 seeds are every way to order things.
template <class F> void all_orders(const std::string &name, F run) {
  if (!only.empty() && name.find(only) == std::string::npos) return;
  double worst = 0;
  for (uint64_t i = first_seed; i < first_seed + runs_of_case; i++) {
    Options o;
    o.products = i % 3;
    o.copies = (1 + i + i / 3) % 3;
    o.by_priority = i % 2;
    o.seed = i * 31 + 7;
    o.loose = loose;
    emu::outputs.clear();
    failure.clear();
    double w = run(o);
    if (!failure.empty()) {
      const char *words[] = {"at once", "late", "sometime"};
      printf("FAILED %s, seed %llu (products %s, copies %s, %s): %s\n", name.c_str(), (unsigned long long)i, words[o.products], words[o.copies], o.by_priority ? "by priority" : "any order", failure.c_str());
      failures++;
      fflush(stdout);
      return;
    }
    worst = std::max(worst, w);
  }
  passed++;
  printf("ok     %s: error %.2f of the bound\n", name.c_str(), worst);
  fflush(stdout);
}

inline void fill(Buffer &b, size_t numbers, bool brain, uint64_t seed, float scale) {
  Random r{seed};
  for (size_t i = 0; i < numbers; i++) ((uint16_t *)b.data)[i] = emu::from_float(scale * r.normal(), brain);
}
inline void watch(const char *name, Buffer &b, size_t unit) { emu::outputs.push_back({name, b.data, b.size, unit, std::vector<uint8_t>(b.size / unit)}); }

struct ProductKernel { const char *name; void (*run)(const void *); int wide, steps, left, right; bool brain, bias, single, gelu, kept; size_t memory; };
struct ProductCase { int m, n, k, entries, parts, grid, gap; };

inline void product_case(const ProductKernel &v, const ProductCase &c) {
  char name[200];
  snprintf(name, sizeof name, "product %s m %d n %d k %d entries %d parts %d grid %d gap %d", v.name, c.m, c.n, c.k, c.entries, c.parts, c.grid, c.gap);
  all_orders(name, [&](const Options &options) -> double {
    size_t m = c.m, n = c.n, k = c.k, entries = c.entries;
    size_t a_rows = v.left ? k : m, a_columns = v.left ? m : k, b_rows = v.right ? k : n, b_columns = v.right ? n : k;
    auto pitch_of = [&](size_t columns) { return (columns + 7) / 8 * 8 + c.gap; };
    size_t a_pitch = pitch_of(a_columns), b_pitch = pitch_of(b_columns), pitch = v.single ? n : n + c.gap;
    int steps = (c.k + 63) / 64, of_part = (steps + c.parts - 1) / c.parts;
    if ((steps + of_part - 1) / of_part != c.parts) { fail("case: empty parts"); return 0; }
    size_t results = std::max(c.entries, c.parts), unit = v.single ? 4 : 2;
    Buffer a(((entries * a_rows - 1) * a_pitch + a_columns) * 2), b(((entries * b_rows - 1) * b_pitch + b_columns) * 2), bias(n * 2), y(results * m * pitch * unit), kept(v.kept ? y.size : 16);
    fill(a, a.size / 2, v.brain, options.seed + 1, 1);
    fill(b, b.size / 2, v.brain, options.seed + 2, 1);
    fill(bias, n, v.brain, options.seed + 3, 3);
    watch("output", y, unit);
    if (v.kept) watch("kept", kept, unit);
    ProductArguments arguments{
      emu::make_map(a.data, {entries, a_rows, a_columns}, {a_rows * a_pitch, a_pitch, 1}, v.left ? std::vector<uint32_t>{1, 64, 64} : std::vector<uint32_t>{1, 128, 64}),
      emu::make_map(b.data, {entries, b_rows, b_columns}, {b_rows * b_pitch, b_pitch, 1}, v.right ? std::vector<uint32_t>{1, 64, 64} : std::vector<uint32_t>{1, (uint32_t)v.wide, 64}),
      y.data, v.kept ? kept.data : y.data, v.bias ? bias.data : y.data, (uint32_t)m, (uint32_t)n, (uint32_t)k, (uint32_t)pitch, (uint32_t)entries, (uint32_t)c.parts, {}, nullptr};
    size_t tiles = (m + 127) / 128 * ((n + v.wide - 1) / v.wide) * entries * c.parts;
    gridDim = {(unsigned)std::min<size_t>(tiles, c.grid), 1, 1};
    for (unsigned x = 0; x < gridDim.x; x++) if (!emu::run_block(v.run, &arguments, x, 0, 384, v.memory, options, arguments.memory)) return 0;
    a.check("left"), b.check("right"), bias.check("bias"), y.check("output"), kept.check("kept");
    Error error;
    auto number = [&](const Buffer &x, size_t i) { return (double)emu::to_float(((const uint16_t *)x.data)[i], v.brain); };
    for (size_t z = 0; z < results; z++) for (size_t i = 0; i < m; i++) for (size_t j = 0; j < pitch; j++) {
      size_t at = (z * m + i) * pitch + j;
      for (auto &o : emu::outputs) if (o.count[at] != (j < n)) { fail("number %zu %zu %zu %s", z, i, j, j < n ? "not written" : "written, between rows"); return 0; }
      if (j >= n) continue;
      size_t e = c.parts > 1 ? 0 : z, from = c.parts > 1 ? z * of_part * 64 : 0, to = c.parts > 1 ? std::min(k, from + of_part * 64) : k;
      double s = v.bias ? number(bias, j) : 0, all = fabs(s);
      for (size_t q = from; q < to; q++) {
        double p = number(a, v.left ? (e * k + q) * a_pitch + i : (e * m + i) * a_pitch + q) * number(b, v.right ? (e * k + q) * b_pitch + j : (e * n + j) * b_pitch + q);
        s += p, all += fabs(p);
      }
      double half = v.brain ? 1.0 / 256 : 1.0 / 2048;
      auto compare = [&](double got, double expected, double tolerance) {
        error.add(got, expected, tolerance + 1e-7);
        if (error.worst > 1) fail("number %zu %zu %zu is %g, not %g", z, i, j, got, expected);
      };
      double got = v.single ? ((const float *)y.data)[at] : number(y, at);
      if (v.kept) compare(number(kept, at), s, 2e-6 * all + fabs(s) * half);
      if (v.gelu) {
        // Its slope is 1.13 at most.
        double g = 0.5 * s * (1 + tanh(0.7978845608028654 * (s + 0.044715 * s * s * s)));
        compare(got, g, 3e-6 * all + fabs(g) * half);
      } else compare(got, s, 2e-6 * all + (v.single ? 0 : fabs(s) * half));
      if (!failure.empty()) return 0;
    }
    return error.worst;
  });
}

struct ConvolutionCase { int images, high, wide, from, to, kernel_high, kernel_wide, above, left, parts, grid, gap; };

// As convolution.rs: pixels of a tile along each axis.
inline std::array<uint32_t, 3> tile_of(uint32_t images, uint32_t high, uint32_t wide, uint32_t most) {
  uint32_t across = std::min(wide, most), down = std::min(high, most / across), deep = down == high ? std::min(images, most / (across * down)) : 1;
  return {down, across, deep};
}

// Images [images, height, width, channels], kernels [to, height, width, from].
inline void convolution_case(const ProductKernel &v, const ConvolutionCase &c) {
  char name[240];
  snprintf(name, sizeof name, "product %s %d images %d x %d channels %d to %d kernel %d x %d padding %d %d parts %d grid %d gap %d", v.name, c.images, c.high, c.wide, c.from, c.to, c.kernel_high, c.kernel_wide, c.above, c.left, c.parts, c.grid, c.gap);
  bool image = strstr(v.name, " image"), slope = strstr(v.name, " slope"), kernel = !image && !slope;
  all_orders(name, [&](const Options &options) -> double {
    size_t N = c.images, H = c.high, W = c.wide, C = c.from, O = c.to, KH = c.kernel_high, KW = c.kernel_wide, P = KH * KW;
    size_t OH = H + 2 * c.above - KH + 1, OW = W + 2 * c.left - KW + 1, x_pitch = C + c.gap, g_pitch = O + c.gap;
    Buffer x(((N * H * W - 1) * x_pitch + C) * 2), g(((N * OH * OW - 1) * g_pitch + O) * 2), w(O * P * C * 2), bias(O * 2);
    fill(x, x.size / 2, v.brain, options.seed + 1, 1);
    fill(g, g.size / 2, v.brain, options.seed + 2, 1);
    fill(w, w.size / 2, v.brain, options.seed + 3, 1);
    fill(bias, O, v.brain, options.seed + 4, 3);
    size_t unit = v.single ? 4 : 2, gap = kernel ? 0 : 8, wide_of_y = image ? O : slope ? C : P * C, y_pitch = wide_of_y + gap;
    size_t rows = image ? N * OH * OW : slope ? N * H * W : O;
    Buffer y(rows * c.parts * y_pitch * unit);
    watch("output", y, unit);
    std::array<uint32_t, 3> tile = slope ? tile_of(N, H, W, 128) : tile_of(N, OH, OW, image ? 128 : 64);
    uint32_t th = tile[0], tw = tile[1], tn = tile[2], high = slope ? H : OH, wide = slope ? W : OW;
    uint32_t tiles = (high + th - 1) / th * ((wide + tw - 1) / tw) * ((N + tn - 1) / tn), chunks = ((slope ? O : C) + 63) / 64, span = (C + v.wide - 1) / v.wide * v.wide;
    auto pixels = [&](Buffer &b, size_t high, size_t wide, size_t channels, size_t pitch) {
      return emu::make_map(b.data, {N, high, wide, channels}, {high * wide * pitch, wide * pitch, pitch, 1}, {tn, th, tw, 64});
    };
    emu::TensorMap of_x = pixels(x, H, W, C, x_pitch), of_g = pixels(g, OH, OW, O, g_pitch);
    emu::TensorMap of_w = slope ? emu::make_map(w.data, {O, P, C}, {P * C, C, 1}, {64, 1, 64}) : emu::make_map(w.data, {1, O, P * C}, {O * P * C, P * C, 1}, {1, (uint32_t)v.wide, 64});
    ProductArguments a{image ? of_x : of_g, kernel ? of_x : of_w, y.data, y.data, bias.data, kernel ? (uint32_t)O : tiles * 128, kernel ? (uint32_t)P * span : (uint32_t)wide_of_y,
      kernel ? tiles * 64 : (uint32_t)P * chunks * 64, (uint32_t)y_pitch, 1, (uint32_t)c.parts,
      {high, wide, (uint32_t)N, th, tw, tn, (uint32_t)KW, (uint32_t)P, (uint32_t)(slope ? KH - 1 - c.above : c.above), (uint32_t)(slope ? KW - 1 - c.left : c.left), (uint32_t)(slope ? O : C)}, nullptr};
    uint32_t steps = a.k / 64, of_part = (steps + c.parts - 1) / c.parts;
    if ((steps + of_part - 1) / of_part != (uint32_t)c.parts) { fail("case: empty parts"); return 0; }
    gridDim = {(unsigned)std::min<size_t>((size_t)(a.m + 127) / 128 * ((a.n + v.wide - 1) / v.wide) * c.parts, c.grid), 1, 1};
    for (unsigned i = 0; i < gridDim.x; i++) if (!emu::run_block(v.run, &a, i, 0, 384, v.memory, options, a.memory)) return 0;
    x.check("image"), g.check("gradient"), w.check("kernel"), bias.check("bias"), y.check("output");
    auto number = [&](const Buffer &b, size_t i) { return (double)emu::to_float(((const uint16_t *)b.data)[i], v.brain); };
    // All that meets: a pixel of the output, a place of the kernel, the pixel there.
    std::vector<double> sum(rows * wide_of_y), all(sum.size());
    for (size_t i = 0; i < N; i++) for (size_t r = 0; r < OH; r++) for (size_t s = 0; s < OW; s++) for (size_t p = 0; p < P; p++) {
      size_t yy = r + p / KW - c.above, xx = s + p % KW - c.left, to = (i * OH + r) * OW + s, from = (i * H + yy) * W + xx;
      if (yy >= H || xx >= W) continue;
      for (size_t o = 0; o < O; o++) for (size_t k = 0; k < C; k++) {
        size_t at = image ? to * O + o : slope ? from * C + k : (o * P + p) * C + k;
        double z = (slope ? 1 : number(x, from * x_pitch + k)) * (image ? 1 : number(g, to * g_pitch + o)) * (kernel ? 1 : number(w, (o * P + p) * C + k));
        sum[at] += z, all[at] += fabs(z);
      }
    }
    Error error;
    for (size_t i = 0; i < rows * c.parts; i++) for (size_t j = 0; j < y_pitch; j++)
      if (emu::outputs[0].count[i * y_pitch + j] != (j < wide_of_y)) { fail("number %zu %zu %s", i, j, j < wide_of_y ? "not written" : "written, between rows"); return 0; }
    for (size_t i = 0; i < rows; i++) for (size_t j = 0; j < wide_of_y; j++) {
      double got = 0, expected = sum[i * wide_of_y + j], most = all[i * wide_of_y + j];
      for (int part = 0; part < c.parts; part++) { size_t at = (part * rows + i) * y_pitch + j; got += v.single ? ((const float *)y.data)[at] : number(y, at); }
      if (v.bias) expected += number(bias, j), most += fabs(number(bias, j));
      error.add(got, expected, 2e-6 * most + (v.single ? 0 : fabs(expected) / (v.brain ? 256 : 2048)) + 1e-7);
      if (error.worst > 1) { fail("number %zu %zu is %g, not %g", i, j, got, expected); return 0; }
    }
    return error.worst;
  });
}

struct AttentionKernels { bool brain; int size; void (*forward)(const void *), (*queries)(const void *), (*keys)(const void *); size_t forward_memory, backward_memory; };
struct AttentionCase { int batch, heads, tokens, wide_grid, gap; float size, lean; };

inline void attention_case(const AttentionKernels &v, const AttentionCase &c) {
  char name[200];
  snprintf(name, sizeof name, "attention %s of %d batch %d heads %d tokens %d grid %d wide gap %d size %g lean %g", v.brain ? "bf16" : "f16", v.size, c.batch, c.heads, c.tokens, c.wide_grid, c.gap, c.size, c.lean);
  all_orders(name, [&](const Options &options) -> double {
    size_t B = c.batch, H = c.heads, T = c.tokens, S = v.size, pitch = 3 * H * S + c.gap, g_pitch = H * S;
    Buffer x(((B * T - 1) * pitch + 3 * H * S) * 2), g(B * T * g_pitch * 2), o(B * T * H * S * 2), dx(B * T * 3 * H * S * 2), sums(B * H * T * 4), deltas(B * H * T * 4);
    fill(x, x.size / 2, v.brain, options.seed + 1, c.size);
    fill(g, g.size / 2, v.brain, options.seed + 2, 1);
    // Some queries and keys are long: then one key takes nearly all.
    auto raise = [&](size_t t, size_t part, float by, float more) {
      for (size_t h = 0; h < H; h++) for (size_t i = 0; i < S; i++) {
        uint16_t *p = (uint16_t *)x.data + (t / T * T + t % T) * pitch + (part * H + h) * S + i;
        *p = emu::from_float(by * emu::to_float(*p, v.brain) + more, v.brain);
      }
    };
    for (size_t t = 3; t < B * T; t += 11) raise(t, 0, 4, 0);
    for (size_t t = 5; t < B * T; t += 17) raise(t, 1, 4, 0);
    // Or all keys lie on one side and some queries on the other: all scores of such a one are far below zero.
    if (c.lean > 0) {
      for (size_t t = 0; t < B * T; t++) raise(t, 1, 1, c.lean);
      for (size_t t = 1; t < B * T; t += 2) raise(t, 0, 1, -c.lean);
    }
    std::vector<uint64_t> strides{T * pitch, pitch, H * S, S, 1}, g_strides{T * g_pitch, g_pitch, H * S, S, 1};
    std::vector<uint32_t> tile{1, 64, 1, 1, 64};
    float unit = 1 / sqrtf(S);
    AttentionArguments arguments{emu::make_map(x.data, {B, T, 3, H, S}, strides, tile), emu::make_map(x.data, {B, T, 3, H, S}, strides, tile), o.data, (float *)sums.data, (float *)deltas.data, x.data, x.data,
      (int)B, (int)T, (int)H, unit * 1.44269504088896341f, unit, nullptr};
    unsigned cubes = (unsigned)((T + 63) / 64 * H * B), wide = c.wide_grid ? c.wide_grid : cubes;
    gridDim = {wide, (cubes + wide - 1) / wide, 1};
    auto launch = [&](void (*kernel)(const void *), size_t memory) {
      for (unsigned j = 0; j < gridDim.y; j++) for (unsigned i = 0; i < gridDim.x; i++) if (!emu::run_block(kernel, &arguments, i, j, 128, memory, options, arguments.memory)) return false;
      return true;
    };
    auto written = [&]() {
      for (const Output &w : emu::outputs) for (size_t i = 0; i < w.count.size(); i++) if (!w.count[i]) { fail("number %zu of %s not written", i, w.name); return false; }
      return true;
    };
    auto checked = [&]() { x.check("input"), g.check("gradient"), o.check("output"), dx.check("gradient of the input"), sums.check("sums"), deltas.check("deltas"); return failure.empty(); };
    watch("output", o, 2);
    if (!launch(v.forward, v.forward_memory)) { failure = "forward: " + failure; return 0; }
    if (!written() || !checked()) return 0;
    std::vector<char> kept(sums.data, sums.data + sums.size), kept_o(o.data, o.data + o.size);
    emu::outputs.clear();
    watch("gradient of the input", dx, 2);
    arguments.g_map = emu::make_map(g.data, {B, T, 1, H, S}, g_strides, tile);
    arguments.out = dx.data, arguments.o = o.data, arguments.g = g.data;
    if (!launch(v.queries, v.backward_memory)) { failure = "queries: " + failure; return 0; }
    if (!launch(v.keys, v.backward_memory)) { failure = "keys: " + failure; return 0; }
    if (!written() || !checked()) return 0;
    if (memcmp(kept.data(), sums.data, sums.size) || memcmp(kept_o.data(), o.data, o.size)) { fail("the backward pass changed its inputs"); return 0; }

    // Tolerances: weights, slopes and results are rounded to half precision, and delta is that of a rounded output.
    double eps = v.brain ? 1.0 / 256 : 1.0 / 2048;
    auto number = [&](const Buffer &b, size_t i) { return (double)emu::to_float(((const uint16_t *)b.data)[i], v.brain); };
    Error all[4];
    double logs = 0, offs = 0;
    for (size_t b = 0; b < B; b++) for (size_t h = 0; h < H; h++) {
      auto X = [&](size_t t, size_t part, size_t i) { return number(x, (b * T + t) * pitch + (part * H + h) * S + i); };
      auto G = [&](size_t t, size_t i) { return number(g, (b * T + t) * g_pitch + h * S + i); };
      std::vector<double> p(T * T), d(T * T), r[4], size[4];
      for (int w = 0; w < 4; w++) r[w].assign(T * S, 0), size[w].assign(T * S, 0);
      for (size_t i = 0; i < T; i++) {
        double most = -1e300, sum = 0, delta = 0;
        for (size_t j = 0; j < T; j++) {
          double s = 0, t = 0;
          for (size_t q = 0; q < S; q++) s += X(i, 0, q) * X(j, 1, q), t += G(i, q) * X(j, 2, q);
          p[i * T + j] = s * unit, d[i * T + j] = t, most = std::max(most, s * unit);
        }
        for (size_t j = 0; j < T; j++) sum += p[i * T + j] = exp(p[i * T + j] - most);
        for (size_t j = 0; j < T; j++) {
          p[i * T + j] /= sum, delta += p[i * T + j] * d[i * T + j];
          for (size_t q = 0; q < S; q++) r[0][i * S + q] += p[i * T + j] * X(j, 2, q), size[0][i * S + q] += p[i * T + j] * fabs(X(j, 2, q));
        }
        double noise = 0;
        for (size_t q = 0; q < S; q++) noise += pow(size[0][i * S + q] * G(i, q), 2);
        noise = 2 * sqrt(noise);
        for (size_t j = 0; j < T; j++) {
          double weight = p[i * T + j], s = weight * (d[i * T + j] - delta) * unit, most_of_s = fabs(s) + weight * noise * unit;
          for (size_t q = 0; q < S; q++) {
            r[1][i * S + q] += s * X(j, 1, q), size[1][i * S + q] += most_of_s * fabs(X(j, 1, q));
            r[2][j * S + q] += s * X(i, 0, q), size[2][j * S + q] += most_of_s * fabs(X(i, 0, q));
            r[3][j * S + q] += weight * G(i, q), size[3][j * S + q] += weight * fabs(G(i, q));
          }
        }
        size_t at = (b * H + h) * T + i;
        double off = (((float *)deltas.data)[at] - delta) / (eps * noise + 1e-6), log = ((float *)sums.data)[at] - (most + ::log(sum)) * 1.4426950408889634;
        logs = std::max(logs, std::isfinite(log) ? fabs(log) : 1e30), offs = std::max(offs, std::isfinite(off) ? fabs(off) : 1e30);
      }
      for (int w = 0; w < 4; w++) {
        for (size_t i = 0; i < T; i++) for (size_t q = 0; q < S; q++) {
          double got = w ? number(dx, ((b * T + i) * 3 * H + (w - 1) * H + h) * S + q) : number(o, ((b * T + i) * H + h) * S + q);
          all[w].add(got, r[w][i * S + q], eps * (fabs(r[w][i * S + q]) + size[w][i * S + q]) + 2e-5);
        }
      }
    }
    const char *names[] = {"output", "queries' gradient", "keys' gradient", "values' gradient"};
    double worst = std::max(logs / 1e-3, offs);
    if (worst > 1) { fail("sums are off by %g, deltas by %g of their bound", logs, offs); return 0; }
    for (int w = 0; w < 4; w++) {
      worst = std::max({worst, all[w].worst, all[w].relative() / (8 * eps)});
      if (worst > 1) { fail("%s: off by %.2f of the bound, relative error %.1e", names[w], all[w].worst, all[w].relative()); return 0; }
    }
    return worst;
  });
}

static void broken(int number) {
  const char text[] = "FAILED: memory touched that is not there\n";
  if (write(1, text, sizeof text - 1)) _exit(1);
  _exit(number);
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    std::string w = words[i];
    if (w == "loose") loose = true;
    else if (w.rfind("seeds=", 0) == 0) runs_of_case = atoi(words[i] + 6);
    else if (w.rfind("first=", 0) == 0) first_seed = atoi(words[i] + 6);
    else only = w;
  }
  for (int i = 0; i < 1 << 16; i++) for (bool brain : {false, true}) {
    float f = emu::to_float((uint16_t)i, brain);
    if (!std::isnan(f) && emu::from_float(f, brain) != i) return printf("number %x\n", i), 1;
  }
  static char stack[1 << 16];
  stack_t own{};
  own.ss_sp = stack, own.ss_size = sizeof stack;
  sigaltstack(&own, nullptr);
  struct sigaction action {};
  action.sa_handler = broken, action.sa_flags = SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
  run_cases();
  printf("%d cases passed, %d failed, %ld blocks\n", passed, failures, emu::launches);
  return failures != 0;
}
