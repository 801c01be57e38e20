// A product of matrices in half precision with sums in f32, for CUDA's compute capability 9.0.
//
// Each block goes through tiles of 128 x WIDE numbers: one thread has the copy engine bring steps of 64 along the inner axis into a ring in shared
// memory, two groups of four warps multiply 64 rows each. Words with a dollar are filled in.
struct Product {
  enum { BM = 128, BN = $WIDE_TILE, BK = 64, STAGES = $STAGES, LEFT_TURNED = $LEFT, RIGHT_TURNED = $RIGHT, A_BYTES = BM * BK * 2, STAGE = A_BYTES + BN * BK * 2 };

  static __device__ __forceinline__ uint32_t shared(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }
  static __device__ __forceinline__ void init(uint32_t bar, uint32_t count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }
  static __device__ __forceinline__ void expect(uint32_t bar, uint32_t bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory"); }
  static __device__ __forceinline__ void arrive(uint32_t bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
  static __device__ __forceinline__ void wait(uint32_t bar, uint32_t parity) {
    asm volatile("{ .reg .pred p; again%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done%=; bra again%=; done%=: }" ::"r"(bar), "r"(parity) : "memory");
  }
  static __device__ __forceinline__ void load(uint32_t to, const void *map, uint32_t bar, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to), "l"(map), "r"(bar), "r"(x), "r"(y), "r"(z) : "memory");
  }
  // Rows of 128 bytes, swizzled. `leading`: bytes to the next 64 numbers of the long axis where that lies in rows.
  static __device__ __forceinline__ uint64_t descriptor(uint32_t at, uint32_t leading) {
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(leading >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
  }
  static __device__ __forceinline__ void multiply(float (&d)[BN / 2], uint64_t da, uint64_t db, int keep) {
    $WGMMA
  }
  static __device__ __forceinline__ void fence(float (&d)[BN / 2]) {
#pragma unroll
    for (int i = 0; i < BN / 2; i++) asm volatile("" : "+f"(d[i])::"memory");
  }
  static __device__ __forceinline__ uint32_t pack(float low, float high) { uint32_t y; asm("$CVT %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
  static __device__ __forceinline__ float up(uint16_t x) { float y; $UP return y; }
  // GELU in its tanh form: x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))), the exponential to the base 2.
  static __device__ __forceinline__ float gelu(float x) {
    float u = x * (-2.302208198f + -0.102943240f * x * x), y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(u));
    return __fdividef(x, 1 + y);
  }

  struct Tile { int m, n, z; };
  static __device__ __forceinline__ Tile tile(uint32_t t, uint32_t tiles_m, uint32_t tiles_n) {
    uint32_t plane = tiles_m * tiles_n, z = t / plane, r = t % plane, wide = 8 * tiles_n, first = r / wide * 8, high = min(tiles_m - first, 8u), q = r % wide;
    return {(int)((first + q % high) * BM), (int)(q / high * BN), (int)z};
  }

  // `entries`: pairs of matrices, or parts of the inner axis, each with a result.
  static __device__ __forceinline__ void run(const void *map_a, const void *map_b, void *out, void *kept, const void *bias, uint32_t m, uint32_t n, uint32_t k, uint32_t pitch, uint32_t entries, uint32_t parts, char *memory) {
    uint32_t base = (shared(memory) + 1023) & ~1023u, bars = base + STAGES * STAGE;
    auto full = [&](int s) { return bars + 8 * s; };
    auto empty = [&](int s) { return bars + 8 * (STAGES + s); };
    uint32_t group = threadIdx.x / 128, tiles_m = (m + BM - 1) / BM, tiles_n = (n + BN - 1) / BN, tiles = tiles_m * tiles_n * entries * parts;
    uint32_t steps = (k + BK - 1) / BK, of_part = (steps + parts - 1) / parts;
    if (threadIdx.x == 0) {
      // A place is free when each of the eight warps says so: that one has waited for its products tells nothing of the others.
      for (int s = 0; s < STAGES; s++) { init(full(s), 1); init(empty(s), 8); }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();
    uint32_t s = 0, phase = 0;
    if (group == 2) {
      if (threadIdx.x == 256) {
        for (uint32_t t = blockIdx.x; t < tiles; t += gridDim.x) {
          Tile at = tile(t, tiles_m, tiles_n);
          int entry = parts > 1 ? 0 : at.z;
          uint32_t from = parts > 1 ? at.z * of_part : 0, to = min(from + of_part, steps);
          for (uint32_t i = from; i < to; i++) {
            wait(empty(s), phase ^ 1);
            uint32_t a = base + s * STAGE, b = a + A_BYTES;
            expect(full(s), STAGE);
            if (LEFT_TURNED) { for (int j = 0; j < BM / 64; j++) load(a + j * 8192, map_a, full(s), at.m + 64 * j, i * BK, entry); }
            else load(a, map_a, full(s), i * BK, at.m, entry);
            if (RIGHT_TURNED) { for (int j = 0; j < BN / 64; j++) load(b + j * 8192, map_b, full(s), at.n + 64 * j, i * BK, entry); }
            else load(b, map_b, full(s), i * BK, at.n, entry);
            if (++s == STAGES) { s = 0; phase ^= 1; }
          }
        }
      }
      return;
    }
    float d[BN / 2];
    for (uint32_t t = blockIdx.x; t < tiles; t += gridDim.x) {
      Tile at = tile(t, tiles_m, tiles_n);
      uint32_t from = parts > 1 ? at.z * of_part : 0, to = min(from + of_part, steps), before = 0;
      for (uint32_t i = from; i < to; i++) {
        wait(full(s), phase);
        uint32_t a = base + s * STAGE, b = a + A_BYTES;
        // 64 rows of the left matrix for each group: 64 rows of 128 bytes, or a slab of its own.
        uint64_t da = descriptor(a + group * 8192, 8192), db = descriptor(b, 8192);
        fence(d);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int j = 0; j < BK / 16; j++) multiply(d, da + j * (LEFT_TURNED ? 128 : 2), db + j * (RIGHT_TURNED ? 128 : 2), i > from || j > 0);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        fence(d);
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        if (i > from && threadIdx.x % 32 == 0) arrive(empty(before));
        before = s;
        if (++s == STAGES) { s = 0; phase ^= 1; }
      }
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      fence(d);
      if (threadIdx.x % 32 == 0) arrive(empty(before));
      uint32_t lane = threadIdx.x % 32, q = lane % 4, row = at.m + group * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
      size_t start = ((size_t)at.z * m + row) * pitch;
      if ($SINGLE) {
        float *y = (float *)out + start;
#pragma unroll
        for (int j = 0; j < BN / 8; j++) {
          uint32_t c = at.n + 8 * j + 2 * q;
          if (c < n) {
            if (row < m) *(float2 *)(y + c) = make_float2(d[4 * j], d[4 * j + 1]);
            if (row + 8 < m) *(float2 *)(y + 8 * (size_t)pitch + c) = make_float2(d[4 * j + 2], d[4 * j + 3]);
          }
        }
      } else {
        // What a function takes is an output of its own, for the backward pass.
        uint16_t *y = (uint16_t *)out + start, *z = $KEPT ? (uint16_t *)kept + start : y;
#pragma unroll
        for (int j = 0; j < BN / 8; j += 4) {
          float u[4] = {0, 0, 0, 0}, v[4] = {0, 0, 0, 0};
#pragma unroll
          for (int i = 0; i < 4; i++) {
            uint32_t c = at.n + 8 * (j + i) + 2 * q;
            if ($BIAS && c < n) { uint32_t both = *(const uint32_t *)((const uint16_t *)bias + c); u[i] = up(both & 0xffff); v[i] = up(both >> 16); }
          }
          uint32_t c = at.n + 8 * (j + q);
#pragma unroll
          for (int r = 0; r < 2; r++) {
            uint32_t p[4], f[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
              float s = d[4 * (j + i) + 2 * r] + u[i], t = d[4 * (j + i) + 2 * r + 1] + v[i];
              p[i] = pack(s, t);
              if ($GELU) f[i] = pack(gelu(s), gelu(t));
            }
            // Each of four neighbours has two numbers of each of four blocks, then one block of eight.
            bool there = c < n && row + 8 * r < m;
            if (!$GELU || $KEPT) {
              turn(p, q);
              if (there) *(uint4 *)(z + 8 * r * (size_t)pitch + c) = make_uint4(p[0], p[1], p[2], p[3]);
            }
            if ($GELU) {
              turn(f, q);
              if (there) *(uint4 *)(y + 8 * r * (size_t)pitch + c) = make_uint4(f[0], f[1], f[2], f[3]);
            }
          }
        }
      }
    }
  }
  static __device__ __forceinline__ void turn(uint32_t (&p)[4], uint32_t q) {
#pragma unroll
    for (int b = 1; b < 4; b *= 2) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (i & b) continue;
        bool odd = q & b;
        uint32_t other = __shfl_xor_sync(0xffffffff, odd ? p[i] : p[i | b], b);
        if (odd) p[i] = other; else p[i | b] = other;
      }
    }
  }
};
