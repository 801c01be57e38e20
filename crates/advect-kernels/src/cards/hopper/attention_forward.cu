// 64 queries of a head: what they see, and for each the logarithm (to the base 2) of the sum of its weights before they are divided by it.
{
  int cube = blockIdx.x + blockIdx.y * gridDim.x;
  enum { K = 128, STAGES = 2, BLOCK = K * 128 };
  uint32_t base = (Base::shared(memory) + 1023) & ~1023u, keys = base + 8192, bars = keys + STAGES * 2 * BLOCK;
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
    for (int j = 0; j < K / 64; j++) Base::load(at + j * 8192, map_x, bars + 8 * s, head, 1, i * K + j * 64, entry);
    for (int j = 0; j < K / 64; j++) Base::load(at + BLOCK + j * 8192, map_x, bars + 8 * s, head, 2, i * K + j * 64, entry);
  };
  if (threadIdx.x == 0) {
    Base::expect(bars + 8 * STAGES, 8192);
    Base::load(base, map_x, bars + 8 * STAGES, head, 0, block * 64, entry);
    for (int i = 0; i < min(STAGES, steps); i++) fetch(i);
  }
  float o[32], most[2] = {-1e30f, -1e30f}, sum[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < 32; i++) o[i] = 0;
  Base::wait(bars + 8 * STAGES, 0);
  uint32_t q = threadIdx.x % 4;
  for (int i = 0; i < steps; i++) {
    uint32_t st = i % STAGES, at = keys + st * 2 * BLOCK;
    Base::wait(bars + 8 * st, i / STAGES & 1);
    float s[64];
    Base::fence_scores(s);
    Base::start();
#pragma unroll
    for (int j = 0; j < 4; j++) Base::rows(s, Base::descriptor(base) + 2 * j, Base::descriptor(at) + 2 * j, j > 0);
    Base::commit();
    Base::finish();
    Base::fence_scores(s);
    if (i * K + K > tokens) {
#pragma unroll
      for (int j = 0; j < 64; j++) if (i * K + j / 4 * 8 + 2 * q + j % 2 >= tokens) s[j] = -1e30f;
    }
    float high[2] = {most[0], most[1]};
#pragma unroll
    for (int j = 0; j < 64; j++) high[j / 2 % 2] = fmaxf(high[j / 2 % 2], s[j]);
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
    uint32_t p[32];
#pragma unroll
    for (int j = 0; j < 64; j += 2) {
      float u = Base::power(s[j] * scale - off[j / 2 % 2]), v = Base::power(s[j + 1] * scale - off[j / 2 % 2]);
      sum[j / 2 % 2] += u + v;
      p[j / 2] = Base::pack(u, v);
    }
#pragma unroll
    for (int j = 0; j < 32; j++) o[j] *= shrink[j / 2 % 2];
    Base::fence(o);
    Base::fence_words(p);
    Base::start();
#pragma unroll
    for (int j = 0; j < 8; j++) Base::add(o, p[4 * j], p[4 * j + 1], p[4 * j + 2], p[4 * j + 3], Base::descriptor(at + BLOCK) + 128 * j, 1);
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
  uint16_t *y = (uint16_t *)out + (((size_t)entry * tokens + block * 64) * heads + head) * 64;
  Base::store(y, (size_t)heads * 64, row, count, o, 1 / sum[0], 1 / sum[1]);
}
