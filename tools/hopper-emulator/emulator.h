/* Blocks of threads of an NVIDIA Hopper card on the processor, for kernels whose inline assembly run.py turned into calls of what is here.
 *
 * Threads are fibers in a random order. Products (wgmma) and copies (cp.async.bulk.tensor) are done at once, or as late as the program allows, or at a random
 * time between; what they will write holds NaNs (shared memory) or any numbers (registers) until then, and what they read must not change. Layouts follow the PTX ISA 9.0: 9.7.15.5.1 (fragments in registers,
 * canonical layouts, descriptors), 5.5 (boxes, their swizzling, zeros beyond the tensor), 9.7.13.15 (mbarrier); and CUTLASS's mma_traits_sm90_gmma.hpp.
 * Not modelled: proxies but for barriers just made, registers of the left factor that change before a product is done with them, time.
 */
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

struct Dim { unsigned x = 0, y = 0, z = 0; };
inline Dim threadIdx, blockIdx, gridDim;
#define __device__
#define __forceinline__ inline
inline int min(int a, int b) { return a < b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
#define __log2f log2f
#define __fdividef(x, y) ((x) / (y))

namespace emu {

struct Random {
  uint64_t s;
  uint64_t next() { s += 0x9e3779b97f4a7c15; uint64_t z = s; z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9; z = (z ^ z >> 27) * 0x94d049bb133111eb; return z ^ z >> 31; }
  uint32_t below(uint32_t n) { return (uint32_t)((next() >> 32) * n >> 32); }
  float real() { return (float)(next() >> 40) / (1 << 24); }
  float normal() { return sqrtf(-2 * logf(1 - real() + 1e-12f)) * cosf(6.2831853f * real()); }
};

inline float half_to_float(uint16_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf(1024 + m, e - 25) : ldexpf(m, -24);
  return h >> 15 ? -v : v;
}
inline float bits_float(uint32_t b) { float f; memcpy(&f, &b, 4); return f; }
inline uint32_t float_bits(float f) { uint32_t b; memcpy(&b, &f, 4); return b; }
inline float to_float(uint16_t h, bool brain) { return brain ? bits_float((uint32_t)h << 16) : half_to_float(h); }
// To the nearest, to even in the middle; a NaN is 0x7fff.
inline uint16_t from_float(float f, bool brain) {
  if (std::isnan(f)) return 0x7fff;
  uint32_t b = float_bits(f);
  if (brain) return (uint16_t)((b + 0x7fff + (b >> 16 & 1)) >> 16);
  uint16_t sign = b >> 16 & 0x8000;
  double a = fabs((double)f);
  if (a >= 65520) return sign | 0x7c00;
  int e;
  frexp(a, &e);
  e = e < -13 ? -13 : e;
  double q = nearbyint(ldexp(a, 11 - e)); // In units of the last place.
  if (q >= 2048) { q /= 2; e++; }
  return q < 1024 ? sign | (uint16_t)q : sign | (uint16_t)((e + 14) << 10 | ((int)q - 1024));
}

enum { WINDOW = 1 << 18, CHUNKS = WINDOW / 16 };
enum { AT_ONCE, LATE, SOMETIME };
enum : uint8_t { UNWRITTEN, COMING, STORED, WRITTEN }; // A store counts once its thread has made a fence for the asynchronous proxy.

struct TensorMap { char *base; int rank; uint64_t dims[5], strides[5]; uint32_t box[5]; };

struct Barrier { uint32_t count; int64_t pending, tx; uint64_t phase; int maker; long made; bool fenced; };
struct Copy { uint32_t to, bar; const TensorMap *map; int at[5]; };

struct Shadow { std::vector<float *> registers; std::vector<float> values, poison; size_t last; };
struct Op {
  int n; bool brain, from_registers, left_turned, right_turned, keep; uint64_t da, db;
  uint32_t a[128][4]; Shadow *d[128];
  int came[4] = {0, 0, 0, 0};
  bool issued[4] = {}, done[4] = {}, retired[4] = {};
  std::vector<uint16_t> reads[4];
};
struct Group { std::deque<std::unique_ptr<Op>> ops; };
struct Warp { uint64_t turns = 0; int came = 0, line = 0; unsigned by = 0; uint32_t values[2][32]; };
struct Fiber {
  ucontext_t context; char *stack = nullptr; int id = 0; bool over = false;
  bool (*ready)(void *) = nullptr; void *data = nullptr; const char *what = "";
  size_t next = 0; std::vector<size_t> committed; std::map<float *, Shadow> shadows; bool fenced = false;
  std::vector<uint32_t> stored; // Chunks, since the last fence for the asynchronous proxy.
  uint64_t priority = 0;
};

struct Options { int products = AT_ONCE, copies = AT_ONCE; bool by_priority = false, loose = false; uint64_t seed = 0; };
struct Output { const char *name; char *begin; size_t size, unit; std::vector<uint8_t> count; };

struct Block {
  Options options;
  Random random{0};
  char window[WINDOW];
  uint8_t state[CHUNKS];
  uint16_t readers[CHUNKS];
  uint32_t begin, end; // Of the block's shared memory.
  std::map<uint32_t, Barrier> barriers;
  std::vector<Copy> copies;
  std::vector<Fiber> fibers;
  Fiber *now = nullptr;
  ucontext_t home;
  int live = 0, waiting = 0, sync_line = 0;
  long syncs = 0;
  Group groups[4];
  Warp warps[16];
  void (*kernel)(const void *) = nullptr;
  const void *arguments = nullptr;
};
inline Block *block;
inline std::vector<Output> outputs;
inline std::string failure;
inline long launches;

// Ends the block; the first failure is kept.
[[gnu::format(printf, 1, 2)]] inline void fail(const char *format, ...) {
  char text[600];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (failure.empty()) {
    failure = text;
    if (block && block->now) failure += " [block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + " thread " + std::to_string(block->now->id) + "]";
  }
  if (block && block->now) { block->now = nullptr; setcontext(&block->home); }
}

inline void leave() { Fiber *f = block->now; swapcontext(&f->context, &block->home); }
template <class F> void wait_until(F ready, const char *what) {
  Fiber &f = *block->now;
  if (ready() && block->random.below(4)) return;
  f.ready = [](void *p) { return (bool)(*(F *)p)(); };
  f.data = &ready;
  f.what = what;
  leave();
}
inline void maybe_leave(uint32_t one_of) {
  if (block->random.below(one_of) == 0) leave();
}

// Shared memory.
inline uint32_t shared_address(const void *p) { return (uint32_t)((const char *)p - block->window); }
inline void in_shared(uint32_t at, uint32_t bytes, const char *what) {
  if (at < block->begin || at + bytes > block->end) fail("%s at %u, outside of shared memory [%u, %u)", what, at, block->begin, block->end);
}
// 128-byte swizzling: bits 7 to 9 of the address are added to bits 4 to 6.
inline uint32_t swizzled(uint32_t at) { return at ^ (at >> 3 & 0x70); }

// mbarrier
inline Barrier &barrier(uint32_t at, const char *what) {
  auto b = block->barriers.find(at);
  if (b == block->barriers.end()) fail("%s: no barrier at %u", what, at);
  if (block->now && b->second.maker != block->now->id && b->second.made == block->syncs) fail("%s: barrier at %u used by another thread before it could know of it", what, at);
  return b->second;
}
inline void advance(Barrier &b) {
  if (b.pending < 0) fail("more arrivals at a barrier than it waits for");
  if (b.tx > 0xfffff || b.tx < -0xfffff) fail("bytes of a barrier out of range");
  if (b.pending == 0 && b.tx == 0) { b.phase++; b.pending = b.count; }
}
inline void mbarrier_init(uint32_t at, uint32_t count) {
  in_shared(at, 8, "barrier");
  if (at % 8) fail("barrier at %u, no multiple of 8", at);
  if (block->barriers.count(at)) fail("barrier at %u made twice", at);
  if (count == 0) fail("barrier for no arrival");
  block->barriers[at] = {count, count, 0, 0, block->now->id, block->syncs, false};
  maybe_leave(4);
}
inline void mbarrier_arrive(uint32_t at) { maybe_leave(4); Barrier &b = barrier(at, "arrive"); b.pending--; advance(b); maybe_leave(4); }
inline void mbarrier_expect(uint32_t at, uint32_t bytes) { maybe_leave(4); Barrier &b = barrier(at, "expect_tx"); b.tx += bytes; b.pending--; advance(b); maybe_leave(4); }
// The phase of this parity is over: the current one has the other.
inline void mbarrier_wait(uint32_t at, uint32_t parity) {
  if (parity > 1) fail("parity %u", parity);
  Barrier &b = barrier(at, "try_wait");
  wait_until([&] { return (b.phase & 1) != parity; }, "mbarrier");
}
inline void fence_barriers() { for (auto &b : block->barriers) if (b.second.maker == block->now->id) b.second.fenced = true; }
inline void fence_proxy() {
  fence_barriers();
  for (uint32_t c : block->now->stored) if (block->state[c] == STORED) block->state[c] = WRITTEN;
  block->now->stored.clear();
}

// Copies of boxes of a tensor.
template <class F> void box_chunks(const Copy &c, F f) {
  const TensorMap &t = *c.map;
  uint64_t bytes = 2;
  for (int i = 0; i < t.rank; i++) bytes *= t.box[i];
  for (uint64_t o = 0; o < bytes; o += 16) f((uint32_t)o, swizzled(c.to + (uint32_t)o));
}
inline void deliver(size_t which) {
  Copy c = block->copies[which];
  block->copies[which] = block->copies.back();
  block->copies.pop_back();
  const TensorMap &t = *c.map;
  uint32_t bytes = 0;
  box_chunks(c, [&](uint32_t o, uint32_t to) {
    bytes += 16;
    if (block->readers[to / 16]) fail("a copy writes at %u what a product that is not over reads", to);
    for (uint32_t e = 0; e < 8; e++) {
      uint64_t i = o / 2 + e;
      const char *from = t.base;
      bool inside = true;
      for (int d = 0; d < t.rank; d++) {
        int64_t at = c.at[d] + (int64_t)(i % t.box[d]);
        i /= t.box[d];
        inside &= at >= 0 && (uint64_t)at < t.dims[d];
        from += at * (int64_t)t.strides[d];
      }
      uint16_t v = 0;
      if (inside) memcpy(&v, from, 2);
      memcpy(block->window + to + 2 * e, &v, 2);
    }
    block->state[to / 16] = WRITTEN;
  });
  // All of the box counts, also what lies beyond the tensor.
  Barrier &b = block->barriers[c.bar];
  b.tx -= bytes;
  advance(b);
}
inline void copy_box(int rank, uint32_t to, const void *map, uint32_t bar, const int *at) {
  maybe_leave(2);
  Copy c{to, bar, (const TensorMap *)map, {}};
  if (c.map->rank != rank) fail("copy with %d coordinates of a tensor with %d", rank, c.map->rank);
  for (int i = 0; i < rank; i++) c.at[i] = at[i];
  if (!barrier(bar, "copy").fenced) fail("copy: no fence since its barrier was made");
  if (to % 128) fail("copy to %u, no multiple of 128", to);
  box_chunks(c, [&](uint32_t, uint32_t a) {
    in_shared(a, 16, "copy");
    for (auto &b : block->barriers) if (b.first / 16 == a / 16) fail("copy over the barrier at %u", b.first);
    if (block->state[a / 16] == COMING) fail("copy to %u, where another one still writes", a);
    if (block->readers[a / 16]) fail("copy to %u, which a product that is not over reads", a);
    if (block->state[a / 16] == STORED) fail("copy to %u: no fence since a thread stored there", a);
    block->state[a / 16] = COMING;
    memset(block->window + a, 0xff, 16);
  });
  block->copies.push_back(c);
  if (block->options.copies == AT_ONCE) deliver(block->copies.size() - 1);
  maybe_leave(2);
}

// 16 bytes by a thread.
inline void store_shared(uint32_t to, uint32_t word) {
  in_shared(to, 16, "store");
  if (to % 16) fail("store to %u in shared memory, not aligned", to);
  for (auto &b : block->barriers) if (b.first / 16 == to / 16) fail("store over the barrier at %u", b.first);
  if (block->state[to / 16] == COMING) fail("store to %u, where a copy writes", to);
  for (int i = 0; i < 4; i++) memcpy(block->window + to + 4 * i, &word, 4);
  block->state[to / 16] = STORED;
  block->now->stored.push_back(to / 16);
}

// wgmma: 64 rows of a group of four warps, a quarter for each.
struct Descriptor {
  uint32_t start, leading, stride, base, mode;
  explicit Descriptor(uint64_t d) : start((d & 0x3fff) << 4), leading((d >> 16 & 0x3fff) << 4), stride((d >> 32 & 0x3fff) << 4), base(d >> 49 & 7), mode(d >> 62) {
    if (mode != 1 || base) fail("descriptor %llx: not swizzled by 128 bytes, or not from a multiple of 1024", (unsigned long long)d);
    if (d & 0x3ff1c000c000c000) fail("descriptor %llx: bits that mean nothing", (unsigned long long)d);
    if (start & 0x380) fail("descriptor %llx: begins within the swizzling's pattern", (unsigned long long)d);
  }
  // K-major ((8,m),(T,2k)):((8T,SBO),(1,T)), MN-major ((T,8,m),(8,k)):((1,T,LBO),(8T,SBO)), T = 8 numbers; then swizzled.
  uint32_t place(bool turned, uint32_t mn, uint32_t k) const {
    uint32_t o = turned ? mn % 64 * 2 + mn / 64 * leading + k % 8 * 128 + k / 8 * stride : mn % 8 * 128 + mn / 8 * stride + k * 2;
    return swizzled(start + o);
  }
};
inline float number(uint32_t at, bool brain) { uint16_t v; memcpy(&v, block->window + at, 2); return to_float(v, brain); }
inline void list_reads(Op &op, int w) {
  std::vector<bool> seen(CHUNKS);
  auto read = [&](uint32_t at) {
    in_shared(at, 2, "product");
    if (seen[at / 16]) return;
    seen[at / 16] = true;
    op.reads[w].push_back(at / 16);
  };
  if (!op.from_registers) {
    Descriptor a(op.da);
    for (int r = 16 * w; r < 16 * w + 16; r++) for (int k = 0; k < 16; k++) read(a.place(op.left_turned, r, k));
  }
  Descriptor b(op.db);
  for (int c = 0; c < op.n; c++) for (int k = 0; k < 16; k++) read(b.place(op.right_turned, c, k));
}
inline void check_reads(const Op &op, int w) {
  for (uint16_t c : op.reads[w]) if (block->state[c] != WRITTEN) fail("product of shared memory at %u that %s", c * 16, block->state[c] == COMING ? "has not come yet" : block->state[c] == STORED ? "was stored without a fence" : "nothing was written to");
}
inline void calculate(Op &op, int w) {
  check_reads(op, w);
  static float a[16][16], b[256][16], d[16][256];
  // D and A: value i of thread t is at row t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, column i / 4 * 8 + t % 4 * 2 + i % 2.
  auto row = [](int t, int i) { return t / 4 + i / 2 % 2 * 8; };
  auto column = [](int t, int i) { return i / 4 * 8 + t % 4 * 2 + i % 2; };
  if (op.from_registers) {
    for (int t = 0; t < 32; t++) for (int i = 0; i < 8; i++) a[row(t, i)][column(t, i)] = to_float((uint16_t)(op.a[32 * w + t][i / 2] >> 16 * (i % 2)), op.brain);
  } else {
    Descriptor s(op.da);
    for (int r = 0; r < 16; r++) for (int k = 0; k < 16; k++) a[r][k] = number(s.place(op.left_turned, 16 * w + r, k), op.brain);
  }
  Descriptor s(op.db);
  for (int c = 0; c < op.n; c++) for (int k = 0; k < 16; k++) b[c][k] = number(s.place(op.right_turned, c, k), op.brain);
  for (int t = 0; t < 32; t++) for (int i = 0; i < op.n / 2; i++) d[row(t, i)][column(t, i)] = op.keep ? op.d[32 * w + t]->values[i] : 0;
  for (int r = 0; r < 16; r++) for (int c = 0; c < op.n; c++) {
    float sum = 0;
    for (int k = 0; k < 16; k++) sum += a[r][k] * b[c][k];
    d[r][c] += sum;
  }
  for (int t = 0; t < 32; t++) for (int i = 0; i < op.n / 2; i++) op.d[32 * w + t]->values[i] = d[row(t, i)][column(t, i)];
  op.done[w] = true;
}
inline void check_untouched(const Shadow &s) {
  for (size_t i = 0; i < s.registers.size(); i++) if (*s.registers[i] != s.poison[i]) fail("a register changed in which a product that is not over adds up");
}
inline void issue_quarter(Group &g, size_t index, int w) {
  Op &op = *g.ops[index];
  op.issued[w] = true;
  list_reads(op, w);
  check_reads(op, w);
  for (uint16_t c : op.reads[w]) block->readers[c]++;
  if (block->options.products == AT_ONCE || (block->options.products == SOMETIME && block->random.below(2)))
    for (size_t i = 0; i <= index; i++) if (!g.ops[i]->done[w]) calculate(*g.ops[i], w);
}
inline void wgmma(int n, bool brain, float *const *registers, const uint32_t *a, uint64_t da, uint64_t db, bool keep, bool left_turned, bool right_turned) {
  maybe_leave(16);
  Fiber &f = *block->now;
  Group &g = block->groups[f.id / 128];
  int t = f.id % 128, w = t / 32;
  size_t index = f.next++;
  if (index == g.ops.size()) {
    g.ops.emplace_back(new Op{n, brain, a != nullptr, left_turned, right_turned, keep, da, db, {}, {}});
  }
  Op &op = *g.ops[index];
  if (op.n != n || op.brain != brain || op.from_registers != (a != nullptr) || op.left_turned != left_turned || op.right_turned != right_turned || op.keep != keep || op.da != da || op.db != db)
    fail("wgmma: not the same in all threads of four warps");
  if (a) memcpy(op.a[t], a, 16);
  auto found = f.shadows.find(registers[0]);
  if (found == f.shadows.end()) {
    if (!f.fenced) fail("wgmma: no wgmma.fence since its registers could be used");
    Shadow &s = f.shadows[registers[0]];
    s.registers.assign(registers, registers + n / 2);
    // Numbers that no sum or product leaves as they are.
    for (float *r : s.registers) { s.values.push_back(*r); *r = 1.5f + block->random.real(); s.poison.push_back(*r); }
    found = f.shadows.find(registers[0]);
  } else {
    check_untouched(found->second);
    if (found->second.registers != std::vector<float *>(registers, registers + n / 2)) fail("wgmma: other registers than those of the product before");
  }
  found->second.last = index;
  op.d[t] = &found->second;
  if (++op.came[w] == 32) {
    if (block->options.loose) issue_quarter(g, index, w);
    else if (op.came[0] + op.came[1] + op.came[2] + op.came[3] == 128) for (int i = 0; i < 4; i++) issue_quarter(g, index, i);
  }
}
inline void wgmma_fence() { block->now->fenced = true; maybe_leave(16); }
inline void wgmma_commit() { block->now->committed.push_back(block->now->next); maybe_leave(8); }
inline void wgmma_wait(size_t pending) {
  Fiber &f = *block->now;
  Group &g = block->groups[f.id / 128];
  int w = f.id % 128 / 32;
  size_t until = f.committed.size() > pending ? f.committed[f.committed.size() - 1 - pending] : 0;
  wait_until([&] { return until == 0 || g.ops[until - 1]->issued[w]; }, "wgmma.wait_group");
  for (size_t i = 0; i < until; i++) {
    Op &op = *g.ops[i];
    for (int q = 0; q < 4; q++) {
      if (op.retired[q] || (block->options.loose && q != w)) continue;
      if (!op.done[q]) calculate(op, q);
      op.retired[q] = true;
      for (uint16_t c : op.reads[q]) block->readers[c]--;
    }
  }
  for (auto s = f.shadows.begin(); s != f.shadows.end();) {
    if (s->second.last >= until) { ++s; continue; }
    check_untouched(s->second);
    for (size_t i = 0; i < s->second.registers.size(); i++) *s->second.registers[i] = s->second.values[i];
    s = f.shadows.erase(s);
  }
  f.fenced = false;
  maybe_leave(4);
}

// Between threads. Those that are over take no part.
inline void check_sync() {
  if (block->waiting && block->waiting == block->live) { block->waiting = 0; block->syncs++; }
}
inline void sync(int line) {
  if (block->waiting == 0) block->sync_line = line;
  if (block->sync_line != line) fail("__syncthreads at two places, lines %d and %d", block->sync_line, line);
  long before = block->syncs;
  block->waiting++;
  check_sync();
  wait_until([&] { return block->syncs != before; }, "__syncthreads");
}
inline uint32_t shuffle_bits(uint32_t mask, uint32_t value, unsigned by, int line) {
  Warp &w = block->warps[block->now->id / 32];
  int lane = block->now->id % 32;
  if (mask != 0xffffffff) fail("shuffle of a part of a warp");
  if (w.came == 0) { w.line = line; w.by = by; }
  if (w.line != line || w.by != by) fail("shuffles at two places, lines %d and %d, by %u and %u", w.line, line, w.by, by);
  uint64_t turn = w.turns;
  w.values[turn & 1][lane] = value;
  if (++w.came == 32) { w.came = 0; w.turns++; }
  wait_until([&] { return w.turns != turn; }, "shuffle");
  return w.values[turn & 1][lane ^ by];
}
inline uint32_t shuffle(uint32_t mask, uint32_t v, unsigned by, int line) { return shuffle_bits(mask, v, by, line); }
inline float shuffle(uint32_t mask, float v, unsigned by, int line) { return bits_float(shuffle_bits(mask, float_bits(v), by, line)); }

// Numbers.
inline uint32_t pack(float high, float low, bool brain) { return (uint32_t)from_float(high, brain) << 16 | from_float(low, brain); }
inline float flushed(float x) { return fabsf(x) < 1.17549435e-38f ? copysignf(0, x) : x; }
inline float power(float x) { return flushed(exp2f(flushed(x))); }

// Stores of several words.
inline void store(const void *to, size_t bytes) {
  if ((uintptr_t)to % bytes) fail("store of %zu bytes, not aligned", bytes);
  for (Output &o : outputs) {
    const char *p = (const char *)to;
    if (p < o.begin || p + bytes > o.begin + o.size) continue;
    for (size_t i = 0; i < bytes; i += o.unit) if (o.count[(p - o.begin + i) / o.unit]++) fail("number %zu of %s written twice", (p - o.begin + i) / o.unit, o.name);
    return;
  }
  fail("store outside of what may be written (%zd bytes from the beginning of %s)", (const char *)to - outputs[0].begin, outputs[0].name);
}

// One block.
inline void enter() {
  Block &b = *block;
  b.kernel(b.arguments);
  if (!b.now->shadows.empty()) fail("a thread is over before its products");
  b.now->over = true;
  b.live--;
  check_sync();
  b.now = nullptr;
  setcontext(&b.home);
}
inline Fiber *choose() {
  Block &b = *block;
  size_t n = b.fibers.size(), start = b.random.below((uint32_t)n);
  Fiber *best = nullptr;
  if (b.options.by_priority && b.random.below(64) == 0) {
    // A warp, or all of a group, comes first or last from now on.
    uint64_t p = b.random.next();
    size_t wide = b.random.below(2) ? 32 : 128, from = start / wide * wide;
    for (size_t i = from; i < from + wide && i < n; i++) b.fibers[i].priority = p;
  }
  for (size_t i = 0; i < n; i++) {
    Fiber &f = b.fibers[(start + i) % n];
    if (f.over || (f.ready && !f.ready(f.data))) continue;
    if (!b.options.by_priority) return &f;
    if (!best || f.priority > best->priority) best = &f;
  }
  return best;
}
inline bool run_block(void (*kernel)(const void *), const void *arguments, unsigned x, unsigned y, int threads, size_t bytes, const Options &options, char *&memory_of_kernel) {
  static std::vector<char *> stacks;
  block = new Block;
  Block &b = *block;
  b.options = options;
  b.random.s = options.seed * 1000003 + x * 7919 + y * 104729;
  memset(b.window, 0xff, sizeof b.window);
  memset(b.state, 0, sizeof b.state);
  memset(b.readers, 0, sizeof b.readers);
  // The window's first bytes are the system's; any multiple of 16 may be the beginning.
  b.begin = 1024 + 16 * b.random.below(65);
  b.end = b.begin + (uint32_t)bytes;
  if (bytes > 232448) fail("%zu bytes of shared memory", bytes);
  memory_of_kernel = b.window + b.begin;
  b.kernel = kernel;
  b.arguments = arguments;
  blockIdx = {x, y, 0};
  b.live = threads;
  b.fibers.resize(threads);
  const size_t deep = 1 << 16;
  while (stacks.size() < (size_t)threads) stacks.push_back((char *)malloc(deep));
  for (int i = 0; i < threads; i++) {
    Fiber &f = b.fibers[i];
    f.id = i;
    f.priority = i % 32 ? b.fibers[i - 1].priority : b.random.next();
    getcontext(&f.context);
    f.context.uc_stack = {stacks[i], 0, deep};
    f.context.uc_link = nullptr;
    makecontext(&f.context, enter, 0);
  }
  while (b.live && failure.empty()) {
    if (b.options.copies == SOMETIME && !b.copies.empty() && b.random.below(64) == 0) deliver(b.random.below((uint32_t)b.copies.size()));
    Fiber *f = choose();
    if (!f) {
      if (b.copies.empty()) {
        std::map<std::string, int> all;
        for (Fiber &g : b.fibers) if (!g.over) all[g.what]++;
        std::string text;
        for (auto &a : all) text += " " + std::to_string(a.second) + " in " + a.first;
        fail("deadlock: threads wait,%s [block %u,%u]", text.c_str(), x, y);
        break;
      }
      deliver(b.random.below((uint32_t)b.copies.size()));
      continue;
    }
    f->ready = nullptr;
    b.now = f;
    threadIdx.x = f->id;
    swapcontext(&b.home, &f->context);
    b.now = nullptr;
  }
  if (failure.empty() && !b.copies.empty()) fail("the block is over before its copies");
  launches++;
  bool good = failure.empty();
  delete block;
  block = nullptr;
  return good;
}

// Memory of the card: what is beyond its end cannot be touched, what is before it is checked.
struct Buffer {
  char *map = nullptr, *data = nullptr; size_t pages = 0, size = 0;
  explicit Buffer(size_t bytes) : size(bytes) {
    size_t page = 4096, whole = (bytes + 15) / 16 * 16;
    pages = (whole + page - 1) / page * page + page;
    map = (char *)mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(map + pages, page, PROT_NONE);
    memset(map, 0xe5, pages);
    data = map + pages - whole;
    memset(data, 0xff, bytes);
  }
  Buffer(const Buffer &) = delete;
  ~Buffer() { munmap(map, pages + 4096); }
  void check(const char *name) const {
    for (const char *p = map; p < map + pages; p++) if ((p < data || p >= data + size) && (uint8_t)*p != 0xe5) { fail("%s: written outside, %zd bytes from its beginning", name, p - data); return; }
  }
};
inline TensorMap make_map(char *base, std::vector<uint64_t> shape, std::vector<uint64_t> strides, std::vector<uint32_t> tile) {
  TensorMap t{base, (int)shape.size(), {}, {}, {}};
  if ((uintptr_t)base % 16) fail("map: address");
  for (int i = 0; i < t.rank; i++) {
    int j = t.rank - 1 - i;
    t.dims[i] = shape[j];
    t.strides[i] = strides[j] * 2;
    t.box[i] = tile[j];
    if (i && t.strides[i] % 16) fail("map: stride %d, %llu bytes", i, (unsigned long long)t.strides[i]);
    if (!t.dims[i] || !t.box[i] || t.box[i] > 256) fail("map: size %d", i);
  }
  if (t.strides[0] != 2 || t.box[0] * 2 != 128) fail("map: rows of the box");
  return t;
}
} // namespace emu

#define __syncthreads() emu::sync(__LINE__)
#define __shfl_xor_sync(mask, value, by) emu::shuffle(mask, value, by, __LINE__)
#define __cvta_generic_to_shared(p) emu::shared_address(p)
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
  uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) : x(x), y(y), z(z), w(w) {}
  uint4(const uint4 &) = default;
  void operator=(const uint4 &v) { emu::store(this, 16); memcpy((void *)this, (const void *)&v, 16); }
};
struct alignas(8) float2 {
  float x, y;
  float2(float x, float y) : x(x), y(y) {}
  float2(const float2 &) = default;
  void operator=(const float2 &v) { emu::store(this, 8); memcpy((void *)this, (const void *)&v, 8); }
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
