/* compile_one SOURCE CUBIN INCLUDE NVRTC: one kernel, for sm_90a (H100, H200). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int c, char **a) {
  FILE *f = fopen(a[1], "rb"); fseek(f, 0, SEEK_END); long n = ftell(f); rewind(f); char *s = calloc(1, n + 1); fread(s, 1, n, f); fclose(f);
  void *l = dlopen(a[4], RTLD_NOW); if (!l) { fprintf(stderr, "%s\n", dlerror()); return 2; }
  char i1[4096], i2[4096]; snprintf(i1, 4096, "--include-path=%s", a[3]); snprintf(i2, 4096, "--include-path=%s/cccl", a[3]);
  const char *o[] = {"--gpu-architecture=sm_90a", i1, i2}; void *p;
  ((int (*)(void **, const char *, const char *, int, void *, void *))dlsym(l, "nvrtcCreateProgram"))(&p, s, 0, 0, 0, 0);
  int rc = ((int (*)(void *, int, const char **))dlsym(l, "nvrtcCompileProgram"))(p, 3, o);
  size_t size; if (rc) { ((int (*)(void *, size_t *))dlsym(l, "nvrtcGetProgramLogSize"))(p, &size); char *g = calloc(1, size + 1); ((int (*)(void *, char *))dlsym(l, "nvrtcGetProgramLog"))(p, g); fprintf(stderr, "%.500s\n", g); return 1; }
  ((int (*)(void *, size_t *))dlsym(l, "nvrtcGetCUBINSize"))(p, &size); char *b = malloc(size); ((int (*)(void *, char *))dlsym(l, "nvrtcGetCUBIN"))(p, b);
  char t[4200]; snprintf(t, 4200, "%s.part", a[2]); f = fopen(t, "wb"); fwrite(b, 1, size, f); fclose(f); return rename(t, a[2]); }
