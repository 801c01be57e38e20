// Attention in half precision, for CUDA's compute capability 9.0: what the three kernels share. A group of four warps has 64 queries or keys; products take rows of
// 128 bytes from shared memory, as the copy engine lays them, and weights from registers. A head of more than 64 numbers lies in two slabs; behind its
// last number the copy engine puts zeros. Words with a dollar are filled in.
struct Base {
  enum { SIZE = $SIZE, SLABS = (SIZE + 63) / 64, SLAB = 8192, BLOCK = SLABS * SLAB, STEPS = (SIZE + 15) / 16, STAGES = $STAGES };

  static __device__ __forceinline__ uint32_t shared(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }
  static __device__ __forceinline__ void init(uint32_t bar, uint32_t count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory"); }
  static __device__ __forceinline__ void expect(uint32_t bar, uint32_t bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory"); }
  static __device__ __forceinline__ void wait(uint32_t bar, uint32_t parity) {
    asm volatile("{ .reg .pred p; again%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; @p bra done%=; bra again%=; done%=: }" ::"r"(bar), "r"(parity) : "memory");
  }
  static __device__ __forceinline__ void load(uint32_t to, const void *map, uint32_t bar, int first, int head, int part, int token, int entry) {
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to), "l"(map), "r"(bar), "r"(first), "r"(head), "r"(part), "r"(token), "r"(entry) : "memory");
  }
  // 64 rows of a head. `slab`: bytes to its next 64 numbers.
  static __device__ __forceinline__ void load_block(uint32_t to, uint32_t slab, const void *map, uint32_t bar, int head, int part, int token, int entry) {
    for (int i = 0; i < SLABS; i++) load(to + i * slab, map, bar, 64 * i, head, part, token, entry);
  }
  // `slab`: where the rows lie along the inner axis.
  static __device__ __forceinline__ uint64_t descriptor(uint32_t at, uint32_t slab) {
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(slab >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
  }
  static __device__ __forceinline__ void rows(float (&d)[$SCORES], uint64_t da, uint64_t db, int keep) { $ROWS }
  // Products of 64 rows with as many as there are scores for, whose slabs are so many bytes apart.
  static __device__ __forceinline__ void scores(float (&d)[$SCORES], uint32_t a, uint32_t b, uint32_t slab) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) rows(d, descriptor(a + j / 4 * SLAB, 16) + 2 * (j % 4), descriptor(b + j / 4 * slab, 16) + 2 * (j % 4), j > 0);
  }
  static __device__ __forceinline__ void add(float (&d)[SIZE / 2], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint64_t db, int keep) { $ADD }
  static __device__ __forceinline__ void fence(float (&d)[SIZE / 2]) {
#pragma unroll
    for (int i = 0; i < SIZE / 2; i++) asm volatile("" : "+f"(d[i])::"memory");
  }
  static __device__ __forceinline__ void fence_scores(float (&d)[$SCORES]) {
#pragma unroll
    for (int i = 0; i < $SCORES; i++) asm volatile("" : "+f"(d[i])::"memory");
  }
  static __device__ __forceinline__ void fence_words(uint32_t (&d)[$WORDS]) {
#pragma unroll
    for (int i = 0; i < $WORDS; i++) asm volatile("" : "+r"(d[i])::"memory");
  }
  static __device__ __forceinline__ void start() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
  static __device__ __forceinline__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
  static __device__ __forceinline__ void finish() { asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory"); }
  static __device__ __forceinline__ uint32_t pack(float low, float high) { uint32_t y; asm("$CVT %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
  static __device__ __forceinline__ float up(uint16_t x) { float y; $UP return y; }
  static __device__ __forceinline__ float power(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
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
  // 64 rows of a head, times a factor for each of a thread's two rows.
  static __device__ __forceinline__ void store(uint16_t *y, size_t pitch, int row, int count, float (&d)[SIZE / 2], float a, float b) {
    uint32_t q = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < SIZE / 8; j += 4) {
      uint32_t p[4] = {0, 0, 0, 0}, r[4] = {0, 0, 0, 0};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if (j + i >= SIZE / 8) continue;
        p[i] = pack(a * d[4 * (j + i)], a * d[4 * (j + i) + 1]);
        r[i] = pack(b * d[4 * (j + i) + 2], b * d[4 * (j + i) + 3]);
      }
      turn(p, q);
      turn(r, q);
      if (j + q >= SIZE / 8) continue;
      if (row < count) *(uint4 *)(y + row * pitch + 8 * (j + q)) = make_uint4(p[0], p[1], p[2], p[3]);
      if (row + 8 < count) *(uint4 *)(y + (row + 8) * pitch + 8 * (j + q)) = make_uint4(r[0], r[1], r[2], r[3]);
    }
  }
};
