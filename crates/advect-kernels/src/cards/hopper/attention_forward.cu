// 64 queries of a head: what they see, and for each the logarithm (to the base 2) of the sum of its weights before they are divided by it.
{
  int cube = blockIdx.x + blockIdx.y * gridDim.x;
  enum { K = 2 * $SCORES, STAGES = Base::STAGES, SLAB = K * 128, BLOCK = Base::SLABS * SLAB };
  uint32_t base = (Base::shared(memory) + 1023) & ~1023u, keys = base + Base::BLOCK, bars = keys + STAGES * 2 * BLOCK;
  int blocks = (tokens + 63) / 64, block = cube % blocks, head = cube / blocks % heads, entry = cube / blocks / heads, steps = (tokens + K - 1) / K;
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
    for (int j = 0; j < K / 64; j++) Base::load_block(at + j * Base::SLAB, SLAB, map_x, bars + 8 * s, head, 1, i * K + j * 64, entry);
    for (int j = 0; j < K / 64; j++) Base::load_block(at + BLOCK + j * Base::SLAB, SLAB, map_x, bars + 8 * s, head, 2, i * K + j * 64, entry);
  };
  if (threadIdx.x == 0) {
    Base::expect(bars + 8 * STAGES, Base::BLOCK);
    Base::load_block(base, Base::SLAB, map_x, bars + 8 * STAGES, head, 0, block * 64, entry);
    for (int i = 0; i < min(STAGES, steps); i++) fetch(i);
  }
  float o[Base::SIZE / 2], most[2] = {-1e30f, -1e30f}, sum[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < Base::SIZE / 2; i++) o[i] = 0;
  Base::wait(bars + 8 * STAGES, 0);
  uint32_t q = threadIdx.x % 4;
  for (int i = 0; i < steps; i++) {
    uint32_t st = i % STAGES, at = keys + st * 2 * BLOCK;
    Base::wait(bars + 8 * st, i / STAGES & 1);
    float s[K / 2];
    Base::fence_scores(s);
    Base::start();
    Base::scores(s, base, at, SLAB);
    Base::commit();
    Base::finish();
    Base::fence_scores(s);
    if (i * K + K > tokens) {
#pragma unroll
      for (int j = 0; j < K / 2; j++) if (i * K + j / 4 * 8 + 2 * q + j % 2 >= tokens) s[j] = -1e30f;
    }
    float high[2] = {most[0], most[1]};
#pragma unroll
    for (int j = 0; j < K / 2; j++) high[j / 2 % 2] = fmaxf(high[j / 2 % 2], s[j]);
    float shrink[2], off[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      high[r] = fmaxf(high[r], __shfl_xor_sync(0xffffffff, high[r], 1));
      high[r] = fmaxf(high[r], __shfl_xor_sync(0xffffffff, high[r], 2));
      shrink[r] = Base::power((most[r] - high[r]) * scale);
      off[r] = high[r] * scale;
      most[r] = high[r];
      sum[r] *= shrink[r];
    }
    uint32_t p[K / 4];
#pragma unroll
    for (int j = 0; j < K / 2; j += 2) {
      float u = Base::power(s[j] * scale - off[j / 2 % 2]), v = Base::power(s[j + 1] * scale - off[j / 2 % 2]);
      sum[j / 2 % 2] += u + v;
      p[j / 2] = Base::pack(u, v);
    }
#pragma unroll
    for (int j = 0; j < Base::SIZE / 2; j++) o[j] *= shrink[j / 2 % 2];
    Base::fence(o);
    Base::fence_words(p);
    Base::start();
#pragma unroll
    for (int j = 0; j < K / 16; j++) Base::add(o, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], Base::descriptor(at + BLOCK, SLAB) + 128 * j, 1);
    Base::commit();
    Base::finish();
    Base::fence(o);
    if (i + STAGES < steps) {
      __syncthreads();
      if (threadIdx.x == 0) fetch(i + STAGES);
    }
  }
  int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, count = tokens - block * 64;
#pragma unroll
  for (int r = 0; r < 2; r++) {
    sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
    if (q == 0 && row + 8 * r < count) sums[((size_t)entry * heads + head) * tokens + block * 64 + row + 8 * r] = most[r] * scale + __log2f(sum[r]);
  }
  uint16_t *y = (uint16_t *)out + (((size_t)entry * tokens + block * 64) * heads + head) * Base::SIZE;
  Base::store(y, (size_t)heads * Base::SIZE, row, count, o, 1 / sum[0], 1 / sum[1]);
}
