/* A libcuda.so that loads what nvrtc.c wrote a name for (`STORE:<name>`) from NVRTC_STORE; everything else is the driver's, its dependency. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
typedef int (*load)(void **, const void *);
int cuModuleLoadData(void **m, const void *image) {
  static load real; if (!real) real = (load)dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuModuleLoadData");
  if (strncmp(image, "STORE:", 6)) return real(m, image);
  char path[4096]; snprintf(path, sizeof path, "%s/%.32s.cubin", getenv("NVRTC_STORE"), (const char *)image + 6);
  FILE *f = fopen(path, "rb"); if (!f) { fprintf(stderr, "no %s\n", path); return 200; }
  fseek(f, 0, SEEK_END); long n = ftell(f); rewind(f); char *p = malloc(n); fread(p, 1, n, f); fclose(f);
  int rc = real(m, p); free(p); if (rc) fprintf(stderr, "load %s: %d\n", path, rc); return rc;
}
