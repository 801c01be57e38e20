/* A store of compiled kernels in front of NVRTC, for a card that is at hand for minutes only: what takes long, generating
 * and compiling kernels, is done on another machine beforehand, by several processes, down to machine code (cubin), so that
 * the card's driver need not translate PTX either. For programs built with the feature `cuda-cpp`.
 *
 *     gcc -O2 -fPIC -shared nvrtc.c -o store/libnvrtc.so -ldl
 *     gcc -shared -Wl,-soname,libcuda.so.1 -xc /dev/null -o libcuda.so.1 && gcc -O2 -fPIC -shared cuda.c -o store/libcuda.so -Wl,--no-as-needed libcuda.so.1 -ldl
 *
 * 1. NVRTC_MODE=record, with ../cuda_without_card.c as the driver and `[compilation] cache = true` in cubecl.toml: every
 *    kernel's source is written to NVRTC_STORE, and CubeCL's own cache keeps its name in place of PTX.
 * 2. compile.py compiles the sources.
 * 3. On the card, with store/ first in LD_LIBRARY_PATH and CubeCL's cache carried along: cuda.c loads what a name stands
 *    for. A kernel without one is compiled by NVRTC_REAL then and there (NVRTC_MODE=fill) or refused (replay).
 *
 * NVRTC_LOG: a file that gets a line at the end: found in the store, not found, compiled, seconds.
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
static void path_of(char *path, size_t n, const char *source, const char *end) {
  uint64_t a = 1469598103934665603ull, b = 88172645463325252ull;
  for (const unsigned char *p = (const void *)source; *p; p++) { a = (a ^ *p) * 1099511628211ull; b = (b ^ *p) * 6364136223846793005ull + (b >> 29); }
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
static void *real(const char *name) {
  static void *library; pthread_mutex_lock(&lock);
  if (!library) { const char *p = getenv("NVRTC_REAL"); library = dlopen(p ? p : "libnvrtc.so.13", RTLD_NOW | RTLD_LOCAL); if (!library) fprintf(stderr, "%s\n", dlerror()); }
  pthread_mutex_unlock(&lock); return library ? dlsym(library, name) : 0;
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
  double t = now();
  int (*create)(void **, const char *, const char *, int, const char *const *, const char *const *) = real("nvrtcCreateProgram");
  int (*compile)(void *, int, const char *const *) = real("nvrtcCompileProgram");
  int (*size)(void *, size_t *) = real("nvrtcGetCUBINSize"), (*get)(void *, char *) = real("nvrtcGetCUBIN");
  int (*log_size)(void *, size_t *) = real("nvrtcGetProgramLogSize"), (*get_log)(void *, char *) = real("nvrtcGetProgramLog");
  int (*destroy)(void **) = real("nvrtcDestroyProgram");
  if (!create) { p->log = strdup("NVRTC_REAL cannot be opened"); return 6; }
  void *q; create(&q, p->source, 0, 0, 0, 0);
  int rc = compile(q, n, options);
  size_t s = 0; log_size(q, &s); p->log = calloc(1, s + 1); get_log(q, p->log);
  if (!rc) { size(q, &p->size); p->out = malloc(p->size + 1); get(q, p->out); spill(path, p->out, p->size); __sync_fetch_and_add(&filled, 1); }
  destroy(&q); spent += now() - t; return rc;
}
int nvrtcGetPTXSize(Program *p, size_t *s) { *s = p->size; return 0; }
int nvrtcGetPTX(Program *p, char *o) { memcpy(o, p->out, p->size); return 0; }
int nvrtcGetCUBINSize(Program *p, size_t *s) { *s = p->size; return 0; }
int nvrtcGetCUBIN(Program *p, char *o) { memcpy(o, p->out, p->size); return 0; }
int nvrtcGetProgramLogSize(Program *p, size_t *s) { *s = p->log ? strlen(p->log) + 1 : 1; return 0; }
int nvrtcGetProgramLog(Program *p, char *o) { strcpy(o, p->log ? p->log : ""); return 0; }
int nvrtcDestroyProgram(Program **p) { free((*p)->source); free((*p)->out); free((*p)->log); free(*p); *p = 0; return 0; }
