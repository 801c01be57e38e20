// 64 keys of a head: their gradient and that of their values.
{
  int cube = blockIdx.x + blockIdx.y * gridDim.x;
  enum { STAGES = Base::STAGES, SLAB = Base::SLAB, BLOCK = Base::BLOCK };
  uint32_t base = (Base::shared(memory) + 1023) & ~1023u, ring = base + 2 * BLOCK, bars = ring + STAGES * 2 * BLOCK;
  int blocks = (tokens + 63) / 64, block = cube % blocks, head = cube / blocks % heads, entry = cube / blocks / heads;
  if (entry >= batch) return; // Cubes come in rows.
  if (threadIdx.x == 0) {
    for (int s = 0; s <= STAGES; s++) Base::init(bars + 8 * s, 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  auto fetch = [&](int i) {
    uint32_t s = i % STAGES, at = ring + s * 2 * BLOCK;
    Base::expect(bars + 8 * s, 2 * BLOCK);
    Base::load_block(at, SLAB, map_x, bars + 8 * s, head, 0, i * 64, entry);
    Base::load_block(at + BLOCK, SLAB, map_g, bars + 8 * s, head, 0, i * 64, entry);
  };
  if (threadIdx.x == 0) {
    Base::expect(bars + 8 * STAGES, 2 * BLOCK);
    Base::load_block(base, SLAB, map_x, bars + 8 * STAGES, head, 1, block * 64, entry);
    Base::load_block(base + BLOCK, SLAB, map_x, bars + 8 * STAGES, head, 2, block * 64, entry);
    for (int i = 0; i < min(STAGES, blocks); i++) fetch(i);
  }
  uint32_t q = threadIdx.x % 4;
  int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, count = tokens - block * 64;
  const float *logs = sums + ((size_t)entry * heads + head) * tokens, *offs = deltas + ((size_t)entry * heads + head) * tokens;
  float dk[Base::SIZE / 2], dv[Base::SIZE / 2];
  Base::wait(bars + 8 * STAGES, 0);
  for (int i = 0; i < blocks; i++) {
    uint32_t st = i % STAGES, at = ring + st * 2 * BLOCK;
    Base::wait(bars + 8 * st, i / STAGES & 1);
    float s[32], t[32];
    Base::fence_scores(s);
    Base::fence_scores(t);
    Base::start();
    Base::scores(s, base, at, SLAB);
    Base::scores(t, base + BLOCK, at + BLOCK, SLAB);
    Base::commit();
    Base::finish();
    Base::fence_scores(s);
    Base::fence_scores(t);
    uint32_t p[16], d[16];
#pragma unroll
    for (int j = 0; j < 32; j += 4) {
      int c = i * 64 + j * 2 + 2 * q;
      // A query that is not there has scores and slopes of zero, and no weight.
      float l[2], f[2];
#pragma unroll
      for (int e = 0; e < 2; e++) { l[e] = c + e < tokens ? logs[c + e] : 1e30f; f[e] = c + e < tokens ? offs[c + e] : 0; }
#pragma unroll
      for (int r = 0; r < 2; r++) {
        float u = Base::power(s[j + 2 * r] * scale - l[0]), v = Base::power(s[j + 2 * r + 1] * scale - l[1]);
        p[j / 2 + r] = Base::pack(u, v);
        d[j / 2 + r] = Base::pack(u * (t[j + 2 * r] - f[0]), v * (t[j + 2 * r + 1] - f[1]));
      }
    }
    Base::fence_words(p);
    Base::fence_words(d);
    Base::fence(dk);
    Base::fence(dv);
    Base::start();
#pragma unroll
    for (int j = 0; j < 4; j++) Base::add(dv, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], Base::descriptor(at + BLOCK, SLAB) + 128 * j, i > 0 || j > 0);
#pragma unroll
    for (int j = 0; j < 4; j++) Base::add(dk, d[4 * j], d[4 * j + 1], d[4 * j + 2], d[4 * j + 3], Base::descriptor(at, SLAB) + 128 * j, i > 0 || j > 0);
    Base::commit();
    Base::finish();
    Base::fence(dk);
    Base::fence(dv);
    if (i + STAGES < blocks) {
      __syncthreads();
      if (threadIdx.x == 0) fetch(i + STAGES);
    }
  }
  uint16_t *y = (uint16_t *)out + ((((size_t)entry * tokens + block * 64) * 3 + 1) * heads + head) * Base::SIZE;
  Base::store(y, (size_t)3 * heads * Base::SIZE, row, count, dk, unit, unit);
  Base::store(y + (size_t)heads * Base::SIZE, (size_t)3 * heads * Base::SIZE, row, count, dv, 1, 1);
}
