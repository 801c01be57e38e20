// 64 queries of a head: their gradient, and for each the sum of its output times the output's gradient.
{
  int cube = blockIdx.x + blockIdx.y * gridDim.x;
  enum { STAGES = Base::STAGES, SLAB = Base::SLAB, BLOCK = Base::BLOCK };
  uint32_t base = (Base::shared(memory) + 1023) & ~1023u, keys = base + 2 * BLOCK, bars = keys + STAGES * 2 * BLOCK;
  int blocks = (tokens + 63) / 64, block = cube % blocks, head = cube / blocks % heads, entry = cube / blocks / heads;
  if (entry >= batch) return; // Cubes come in rows.
  if (threadIdx.x == 0) {
    for (int s = 0; s <= STAGES; s++) Base::init(bars + 8 * s, 1);
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  auto fetch = [&](int i) {
    uint32_t s = i % STAGES, at = keys + s * 2 * BLOCK;
    Base::expect(bars + 8 * s, 2 * BLOCK);
    Base::load_block(at, SLAB, map_x, bars + 8 * s, head, 1, i * 64, entry);
    Base::load_block(at + BLOCK, SLAB, map_x, bars + 8 * s, head, 2, i * 64, entry);
  };
  if (threadIdx.x == 0) {
    Base::expect(bars + 8 * STAGES, 2 * BLOCK);
    Base::load_block(base, SLAB, map_x, bars + 8 * STAGES, head, 0, block * 64, entry);
    Base::load_block(base + BLOCK, SLAB, map_g, bars + 8 * STAGES, head, 0, block * 64, entry);
    for (int i = 0; i < min(STAGES, blocks); i++) fetch(i);
  }
  uint32_t q = threadIdx.x % 4;
  int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, count = tokens - block * 64;
  size_t line = ((size_t)entry * heads + head) * tokens + block * 64;
  float log[2] = {0, 0}, delta[2] = {0, 0};
#pragma unroll
  for (int r = 0; r < 2; r++) {
    if (row + 8 * r >= count) continue;
    log[r] = sums[line + row + 8 * r];
    size_t from = (((size_t)entry * tokens + block * 64 + row + 8 * r) * heads + head) * Base::SIZE;
    for (int j = q; j < Base::SIZE / 8; j += 4) {
      uint4 u = *(const uint4 *)((const uint16_t *)o + from + 8 * j), v = *(const uint4 *)((const uint16_t *)g + from + 8 * j);
      uint32_t us[4] = {u.x, u.y, u.z, u.w}, vs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int i = 0; i < 4; i++) delta[r] += Base::up(us[i] & 0xffff) * Base::up(vs[i] & 0xffff) + Base::up(us[i] >> 16) * Base::up(vs[i] >> 16);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; r++) {
    delta[r] += __shfl_xor_sync(0xffffffff, delta[r], 1);
    delta[r] += __shfl_xor_sync(0xffffffff, delta[r], 2);
    if (q == 0 && row + 8 * r < count) deltas[line + row + 8 * r] = delta[r];
  }
  float dq[Base::SIZE / 2];
  Base::wait(bars + 8 * STAGES, 0);
  for (int i = 0; i < blocks; i++) {
    uint32_t st = i % STAGES, at = keys + st * 2 * BLOCK;
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
    uint32_t p[16];
#pragma unroll
    for (int j = 0; j < 32; j += 2) {
      int r = j / 2 % 2;
      float u = Base::power(s[j] * scale - log[r]) * (t[j] - delta[r]), v = Base::power(s[j + 1] * scale - log[r]) * (t[j + 1] - delta[r]);
      if (i * 64 + 64 > tokens) {
        int c = i * 64 + j / 4 * 8 + 2 * q;
        if (c >= tokens) u = 0;
        if (c + 1 >= tokens) v = 0;
      }
      p[j / 2] = Base::pack(u, v);
    }
    Base::fence_words(p);
    Base::fence(dq);
    Base::start();
#pragma unroll
    for (int j = 0; j < 4; j++) Base::add(dq, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], Base::descriptor(at, SLAB) + 128 * j, i > 0 || j > 0);
    Base::commit();
    Base::finish();
    Base::fence(dq);
    if (i + STAGES < blocks) {
      __syncthreads();
      if (threadIdx.x == 0) fetch(i + STAGES);
    }
  }
  uint16_t *y = (uint16_t *)out + (((size_t)entry * tokens + block * 64) * 3 * heads + head) * Base::SIZE;
  Base::store(y, (size_t)3 * heads * Base::SIZE, row, count, dq, unit, unit);
}
