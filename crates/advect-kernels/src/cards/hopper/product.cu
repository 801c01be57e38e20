// A product of matrices in half precision with sums in f32, for CUDA's compute capability 9.0.
//
// Each block goes through tiles of 128 x WIDE numbers: one thread has the copy engine bring steps of 64 along the inner axis into a ring in shared
// memory, two groups of four warps multiply 64 rows each. Words with a dollar are filled in.
//
// A convolution with steps of 1 is such a product of images whose channels lie side by side: the rows are pixels, the inner axis has the kernel's places
// and for each its channels, and the copy engine brings pixels shifted by a place, zeros where there are none. The gradient of the kernel has pixels along
// its inner axis, and for columns places with channels.
struct Product {
  enum { MATRIX, IMAGE, SLOPE, KERNEL, WAY = $WAY };
  enum { THREADS = 384, BM = 128, BN = $WIDE_TILE, BK = 64, STAGES = $STAGES, LEFT_TURNED = $LEFT, RIGHT_TURNED = $RIGHT, A_BYTES = BM * BK * 2, STAGE = A_BYTES + BN * BK * 2 };

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
  static __device__ __forceinline__ void load_pixels(uint32_t to, const void *map, uint32_t bar, int channel, int x, int y, int image) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to), "l"(map), "r"(bar), "r"(channel), "r"(x), "r"(y), "r"(image) : "memory");
  }
  static __device__ __forceinline__ void clear(uint32_t at) { asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(at), "r"(0) : "memory"); }
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

  // Of the pixels that tiles (or steps) go through: how many there are, how many of them a tile has along each axis, the places of the kernel, how far the first
  // of them lies above and left of a pixel, and the channels of a place.
  struct Images { uint32_t high, wide, images, tile_high, tile_wide, tile_images, kernel_wide, places, above, left, channels; };
  struct Pixel { uint32_t x, y, image; };
  static __device__ __forceinline__ Pixel first_of(const Images &g, uint32_t t) {
    uint32_t across = (g.wide + g.tile_wide - 1) / g.tile_wide, down = (g.high + g.tile_high - 1) / g.tile_high;
    return {t % across * g.tile_wide, t / across % down * g.tile_high, t / across / down * g.tile_images};
  }

  // `entries`: pairs of matrices, or parts of the inner axis, each with a result.
  static __device__ __forceinline__ void run(const void *map_a, const void *map_b, void *out, void *kept, const void *bias, uint32_t m, uint32_t n, uint32_t k, uint32_t pitch, uint32_t entries, uint32_t parts, Images g, char *memory) {
    uint32_t base = (shared(memory) + 1023) & ~1023u, bars = base + STAGES * STAGE;
    auto full = [&](int s) { return bars + 8 * s; };
    auto empty = [&](int s) { return bars + 8 * (STAGES + s); };
    uint32_t group = threadIdx.x / 128, tiles_m = (m + BM - 1) / BM, tiles_n = (n + BN - 1) / BN, tiles = tiles_m * tiles_n * entries * parts;
    uint32_t steps = (k + BK - 1) / BK, of_part = (steps + parts - 1) / parts;
    uint32_t pixels = g.tile_images * g.tile_high * g.tile_wide, chunks = (g.channels + BK - 1) / BK, span = (g.channels + BN - 1) / BN * BN;
    if (WAY != MATRIX && pixels < (WAY == KERNEL ? BK : BM)) {
      // Rows that no pixel comes to: nothing else may be there.
      for (uint32_t i = threadIdx.x * 16; i < STAGES * STAGE; i += THREADS * 16) clear(base + i);
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
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
            if (WAY == MATRIX) {
              expect(full(s), STAGE);
              if (LEFT_TURNED) { for (int j = 0; j < BM / 64; j++) load(a + j * 8192, map_a, full(s), at.m + 64 * j, i * BK, entry); }
              else load(a, map_a, full(s), i * BK, at.m, entry);
              if (RIGHT_TURNED) { for (int j = 0; j < BN / 64; j++) load(b + j * 8192, map_b, full(s), at.n + 64 * j, i * BK, entry); }
              else load(b, map_b, full(s), i * BK, at.n, entry);
            } else if (WAY == KERNEL) {
              uint32_t place = at.n / span, first = at.n % span;
              Pixel p = first_of(g, i);
              expect(full(s), pixels * 128 * (BM / 64 + BN / 64));
              for (int j = 0; j < BM / 64; j++) load_pixels(a + j * 8192, map_a, full(s), at.m + 64 * j, p.x, p.y, p.image);
              for (int j = 0; j < BN / 64; j++) load_pixels(b + j * 8192, map_b, full(s), first + 64 * j, (int)(p.x + place % g.kernel_wide) - (int)g.left, (int)(p.y + place / g.kernel_wide) - (int)g.above, p.image);
            } else {
              uint32_t place = i / chunks, first = i % chunks * BK;
              Pixel p = first_of(g, at.m / BM);
              expect(full(s), pixels * 128 + BN * 128);
              load_pixels(a, map_a, full(s), first, (int)(p.x + place % g.kernel_wide) - (int)g.left, (int)(p.y + place / g.kernel_wide) - (int)g.above, p.image);
              // Behind the last channel the left matrix is zero.
              if (WAY == IMAGE) load(b, map_b, full(s), place * g.channels + first, at.n, 0);
              else for (int j = 0; j < BN / 64; j++) load(b + j * 8192, map_b, full(s), at.n + 64 * j, g.places - 1 - place, first);
            }
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
      uint32_t lane = threadIdx.x % 32, q = lane % 4, row = group * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
      // Where this thread's two rows begin, its columns, and how far they are from their place in memory.
      size_t start[2];
      bool inside[2];
      uint32_t first = at.n, end = n, apart = 0;
      if (WAY == KERNEL) { first = at.n % span; end = g.channels; apart = at.n / span * g.channels; }
#pragma unroll
      for (int r = 0; r < 2; r++) {
        uint32_t i = row + 8 * r;
        if (WAY == IMAGE || WAY == SLOPE) {
          Pixel p = first_of(g, at.m / BM);
          p.x += i % g.tile_wide, p.y += i / g.tile_wide % g.tile_high, p.image += i / g.tile_wide / g.tile_high;
          inside[r] = i < pixels && p.x < g.wide && p.y < g.high && p.image < g.images;
          start[r] = (((size_t)p.image * g.high + p.y) * g.wide + p.x) * pitch;
        } else {
          inside[r] = at.m + i < m;
          start[r] = ((size_t)at.z * m + at.m + i) * pitch + apart;
        }
      }
      if ($SINGLE) {
#pragma unroll
        for (int j = 0; j < BN / 8; j++) {
          uint32_t c = first + 8 * j + 2 * q;
#pragma unroll
          for (int r = 0; r < 2; r++)
            if (c < end && inside[r]) *(float2 *)((float *)out + start[r] + c) = make_float2(d[4 * j + 2 * r], d[4 * j + 2 * r + 1]);
        }
      } else {
        // What a function takes is an output of its own, for the backward pass.
        uint16_t *y = (uint16_t *)out, *z = $KEPT ? (uint16_t *)kept : y;
#pragma unroll
        for (int j = 0; j < BN / 8; j += 4) {
          uint32_t c = first + 8 * (j + q);
#pragma unroll
          for (int r = 0; r < 2; r++) {
            uint32_t p[4], f[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
              float s = d[4 * (j + i) + 2 * r], t = d[4 * (j + i) + 2 * r + 1];
              uint32_t at = first + 8 * (j + i) + 2 * q;
              if ($BIAS && at < end) { uint32_t both = *(const uint32_t *)((const uint16_t *)bias + at); s += up(both & 0xffff); t += up(both >> 16); }
              p[i] = pack(s, t);
              if ($GELU) f[i] = pack(gelu(s), gelu(t));
            }
            // Each of four neighbours has two numbers of each of four blocks, then one block of eight.
            bool there = c < end && inside[r];
            if (!$GELU || $KEPT) {
              turn(p, q);
              if (there) *(uint4 *)(z + start[r] + c) = make_uint4(p[0], p[1], p[2], p[3]);
            }
            if ($GELU) {
              turn(f, q);
              if (there) *(uint4 *)(y + start[r] + c) = make_uint4(f[0], f[1], f[2], f[3]);
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
