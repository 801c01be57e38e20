/* A store of compiled kernels in front of NVRTC, for a card that is at hand for minutes only: what takes long, generating
 * and compiling kernels (some for matrix units take NVRTC two minutes), is done on another machine beforehand, by several
 * processes, down to machine code (cubin), so that the card's driver need not translate PTX either. For programs built with
 * the feature `cuda-cpp`. A store is for one architecture.
 *
 *     gcc -O2 compile_one.c -o compile_one -ldl; mkdir store
 *     gcc -O2 -fPIC -shared nvrtc.c -o store/libnvrtc.so -ldl
 *     gcc -shared -Wl,-soname,libcuda.so.1 -xc /dev/null -o libcuda.so.1 && gcc -O2 -fPIC -shared cuda.c -o store/libcuda.so -Wl,--no-as-needed libcuda.so.1 -ldl
 *
 * 1. NVRTC_MODE=record, with ../cuda_without_card.c as the driver and `[compilation] cache = true` in cubecl.toml: every
 *    kernel's source is written to NVRTC_STORE, and CubeCL's own cache keeps its name in place of PTX.
 * 2. compile.py compiles the sources.
 * 3. On the card, with store/ first in LD_LIBRARY_PATH and CubeCL's cache carried along: cuda.c loads what a name stands
 *    for, and refuses a kernel that was recorded but not compiled. Another one (tuning on a card finds other winners) is
 *    compiled there by NVRTC_ONE, within NVRTC_LIMIT seconds; where these are not enough, a kernel that does nothing for
 *    30 ms stands for it, so that it loses in tuning. It would be used where there is no other: compare the results.
 *
 * CUDA_PATH: its include/ has cuda_fp16.h. NVRTC_REAL: NVIDIA's library. NVRTC_ONE: compile_one. NVRTC_LOG: a file that gets
 * a line at the end: found in the store, not found, compiled, seconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
typedef struct { char *source, *out, *log; size_t size; } Program;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long hits, misses, filled; static double spent;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
static void report(void) { if (getenv("NVRTC_LOG")) { FILE *f = fopen(getenv("NVRTC_LOG"), "a"); if (f) { fprintf(f, "hits %ld misses %ld filled %ld seconds %.1f\n", hits, misses, filled, spent); fclose(f); } } }
__attribute__((constructor)) static void start(void) { atexit(report); }
static int mode(void) { const char *m = getenv("NVRTC_MODE"); return !m ? 2 : !strcmp(m, "record") ? 0 : !strcmp(m, "replay") ? 1 : 2; }

/* Names of variables are numbered anew in the order of their appearance: the generator's numbers differ from run to run. */
static char *canonical(const char *s) {
  size_t n = strlen(s); char *out = malloc(2 * n + 64), *o = out; static const size_t SLOTS = 1 << 20;
  unsigned *map = calloc(SLOTS, sizeof *map), next = 0;
  for (const char *p = s; *p;) {
    if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' || (*p >= '0' && *p <= '9')) {
      const char *e = p; while ((*e >= 'a' && *e <= 'z') || (*e >= 'A' && *e <= 'Z') || *e == '_' || (*e >= '0' && *e <= '9')) e++;
      const char *d = e; while (d > p && d[-1] >= '0' && d[-1] <= '9') d--;
      int plain = d < e && d > p && d[-1] == 'v';
      for (const char *q = p; plain && q < d - 1; q++) plain = (*q >= 'a' && *q <= 'z') || *q == '_';
      if (plain) { unsigned id = strtoul(d, 0, 10) % SLOTS; if (!map[id]) map[id] = ++next; memcpy(o, p, d - p); o += d - p; o += sprintf(o, "%u", map[id]); }
      else { memcpy(o, p, e - p); o += e - p; }
      p = e;
    } else *o++ = *p++;
  }
  *o = 0; free(map); return out;
}
static void path_of(char *path, size_t n, const char *source, const char *end) {
  uint64_t a = 1469598103934665603ull, b = 88172645463325252ull;
  char *c = canonical(source);
  for (const unsigned char *p = (const void *)c; *p; p++) { a = (a ^ *p) * 1099511628211ull; b = (b ^ *p) * 6364136223846793005ull + (b >> 29); }
  free(c);
  const char *dir = getenv("NVRTC_STORE");
  snprintf(path, n, "%s/%016llx%016llx%s", dir ? dir : ".", (unsigned long long)a, (unsigned long long)b, end);
}
static char *slurp(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb"); if (!f) return 0;
  fseek(f, 0, SEEK_END); long n = ftell(f); rewind(f);
  char *p = malloc(n + 1); *size = fread(p, 1, n, f); p[*size] = 0; fclose(f); return p;
}
static void spill(const char *path, const char *data, size_t size) {
  char part[4200]; snprintf(part, sizeof part, "%s.%d", path, getpid());
  FILE *f = fopen(part, "wb"); if (!f) return; fwrite(data, 1, size, f); fclose(f); rename(part, path);
}
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; return 0; }
const char *nvrtcGetErrorString(int e) { return e ? "NVRTC error" : "success"; }
int nvrtcCreateProgram(Program **p, const char *source, const char *name, int n, const char *const *h, const char *const *i) {
  *p = calloc(1, sizeof **p); (*p)->source = strdup(source); return 0;
}
int nvrtcCompileProgram(Program *p, int n, const char *const *options) {
  char path[4096]; path_of(path, sizeof path, p->source, ".cubin");
  if (mode() == 0) { path_of(path, sizeof path, p->source, ".cu"); if (access(path, F_OK)) { misses++; spill(path, p->source, strlen(p->source)); } else hits++; p->out = malloc(64); char *name = strrchr(path, '/') + 1; p->size = 1 + sprintf(p->out, "STORE:%.32s", name); return 0; }
  if ((p->out = slurp(path, &p->size)) && p->size) { __sync_fetch_and_add(&hits, 1); return 0; }
  char miss[4096]; path_of(miss, sizeof miss, p->source, ".cu");
  __sync_fetch_and_add(&misses, 1);
  if (access(miss, F_OK)) spill(miss, p->source, strlen(p->source));
  if (mode() == 1) { p->log = strdup("this kernel is not in the store"); return 6; }
  double t = now(); char line[16000]; const char *limit = getenv("NVRTC_LIMIT");
  snprintf(line, sizeof line, "LD_LIBRARY_PATH=\"${NVRTC_REAL%%/*}\" timeout -s KILL %s \"$NVRTC_ONE\" %s %s \"$CUDA_PATH/include\" \"$NVRTC_REAL\"", limit ? limit : "60", miss, path);
  int rc = system(line); free(p->out);
  if (rc || !(p->out = slurp(path, &p->size))) { /* A kernel that takes too long to compile: one that takes too long to run stands for it while tuning. */
    const char *q = p->source, *e = 0, *k; while ((k = strstr(q, "__launch_bounds__("))) { e = k; q = k + 1; }
    char name[512] = "", stub[1400], sp[4200]; if (e) { e = strchr(e, ')') + 1; while (*e == ' ') e++; int i = 0; while (i < 500 && *e != '(') name[i++] = *e++; name[i] = 0; }
    fprintf(stderr, "slow stub for %s: rc %d after %.1f s\n", name, rc, now() - t);
    snprintf(stub, sizeof stub, "extern \"C\" __global__ void %s() { if (blockIdx.x | blockIdx.y | blockIdx.z | threadIdx.x | threadIdx.y) return; long long a = clock64(); while (clock64() - a < 60000000ll); }\n", name);
    snprintf(sp, sizeof sp, "%s.stub", miss); spill(sp, stub, strlen(stub));
    snprintf(line, sizeof line, "LD_LIBRARY_PATH=\"${NVRTC_REAL%%/*}\" timeout -s KILL 20 \"$NVRTC_ONE\" %s %s.stub \"$CUDA_PATH/include\" \"$NVRTC_REAL\"", sp, path); rc = system(line);
    snprintf(sp, sizeof sp, "%s.stub", path); if (!rc) rename(sp, path); if (rc || !(p->out = slurp(path, &p->size))) { p->log = strdup("cannot be compiled"); return 6; }
  } else __sync_fetch_and_add(&filled, 1);
  spent += now() - t; return 0;
}
int nvrtcGetPTXSize(Program *p, size_t *s) { *s = p->size; return 0; }
int nvrtcGetPTX(Program *p, char *o) { memcpy(o, p->out, p->size); return 0; }
int nvrtcGetCUBINSize(Program *p, size_t *s) { *s = p->size; return 0; }
int nvrtcGetCUBIN(Program *p, char *o) { memcpy(o, p->out, p->size); return 0; }
int nvrtcGetProgramLogSize(Program *p, size_t *s) { *s = p->log ? strlen(p->log) + 1 : 1; return 0; }
int nvrtcGetProgramLog(Program *p, char *o) { strcpy(o, p->log ? p->log : ""); return 0; }
int nvrtcDestroyProgram(Program **p) { free((*p)->source); free((*p)->out); free((*p)->log); free(*p); *p = 0; return 0; }
