/* A CUDA driver without a card: memory is the processor's, kernels do nothing but are counted.
 *
 * With it a program built with the feature `cuda-cpp` runs on any machine: every kernel is generated and compiled by
 * NVRTC, so that one which does not compile is found, and what is launched, allocated, copied and waited for can be
 * counted. Numbers are meaningless: whatever is read in up to 4096 bytes is zero.
 *
 *     pip download --no-deps nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 nvidia-cuda-crt==13.0.88
 *     # unpacked: CUDA=.../nvidia/cu13; ln -s lib $CUDA/lib64; ln -s libnvrtc.so.13 $CUDA/lib/libnvrtc.so
 *     gcc -O1 -w -fPIC -shared -I$CUDA/include tools/cuda_without_card.c -o fake/libcuda.so   # not libcuda.so.1: NVRTC asks that for more
 *     CUDA_PATH=$CUDA LD_LIBRARY_PATH=fake:$CUDA/lib64 CUDA_LOG=counts CUDA_TRACE=calls PROGRAM --device cuda
 *
 * CUDA_LOG: at the end, totals and launches by kernel. CUDA_TRACE: a line for each launch and copy, with its time.
 */
#define _GNU_SOURCE
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
typedef struct { char *name; long launches; } Fn;
static Fn *fns[1<<16]; static int nfn; static long launches, htod, dtoh, allocs, syncs; static size_t held, peak, htodb;
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static FILE *logf_;
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+1e-9*t.tv_nsec;}
static void report(void){ const char*p=getenv("CUDA_LOG"); FILE*f=p?fopen(p,"w"):0; if(!f)return;
 fprintf(f,"launches %ld htod %ld (%zu bytes) dtoh %ld allocs %ld syncs %ld held %zu peak %zu modules %d\n",launches,htod,htodb,dtoh,allocs,syncs,held,peak,nfn);
 for(int i=0;i<nfn;i++) fprintf(f,"%ld %s\n",fns[i]->launches,fns[i]->name); fclose(f);} 
__attribute__((constructor)) static void start(void){ atexit(report); const char*p=getenv("CUDA_TRACE"); if(p)logf_=fopen(p,"w"); }
CUresult cuInit(unsigned f){return 0;}
CUresult cuDriverGetVersion(int*v){*v=13000;return 0;}
CUresult cuDeviceGet(CUdevice*d,int i){ if(i)return CUDA_ERROR_INVALID_DEVICE; *d=0;return 0;}
CUresult cuDeviceGetCount(int*n){*n=1;return 0;}
CUresult cuDeviceGetName(char*n,int l,CUdevice d){strncpy(n,"NVIDIA H100 80GB HBM3",l);return 0;}
#undef cuDeviceGetUuid
CUresult cuDeviceGetUuid_v2(CUuuid*u,CUdevice d){memset(u,1,16);return 0;}
CUresult cuDeviceGetUuid(CUuuid*u,CUdevice d){memset(u,1,16);return 0;}
CUresult cuDeviceGetPCIBusId(char*s,int l,CUdevice d){strncpy(s,"0000:00:04.0",l);return 0;}
CUresult cuDeviceTotalMem_v2(size_t*b,CUdevice d){*b=(size_t)79*(1ull<<30);return 0;}
CUresult cuDeviceGetAttribute(int*v,CUdevice_attribute a,CUdevice d){
 switch(a){case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:*v=9;break;case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:*v=0;break;
 case CU_DEVICE_ATTRIBUTE_WARP_SIZE:*v=32;break;case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:*v=232448;break;
 case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:*v=49152;break;
 case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:*v=1024;break;case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:*v=1024;break;
 case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:*v=64;break;case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:*v=2147483647;break;
 case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:*v=65535;break;case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:*v=132;break;
 case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:*v=52428800;break;case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:*v=1980000;break;case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:*v=2619000;break;
 case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:*v=5120;break;case CU_DEVICE_ATTRIBUTE_INTEGRATED:*v=0;break;
 default:*v=1;}return 0;}
CUresult cuDevicePrimaryCtxRetain(CUcontext*c,CUdevice d){*c=(CUcontext)0x1000;return 0;}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d){return 0;}
static __thread CUcontext cur;
CUresult cuCtxSetCurrent(CUcontext c){cur=c;return 0;}
CUresult cuCtxGetCurrent(CUcontext*c){*c=cur;return 0;}
CUresult cuCtxGetStreamPriorityRange(int*a,int*b){*a=0;*b=-5;return 0;}
CUresult cuCtxSynchronize(void){return 0;}
static long ids=0x2000;
CUresult cuStreamCreate(CUstream*s,unsigned f){*s=(CUstream)(ids+=16);return 0;}
CUresult cuStreamCreateWithPriority(CUstream*s,unsigned f,int p){*s=(CUstream)(ids+=16);return 0;}
CUresult cuStreamDestroy_v2(CUstream s){return 0;}
CUresult cuStreamSynchronize(CUstream s){syncs++;return 0;}
CUresult cuStreamQuery(CUstream s){return 0;}
CUresult cuStreamWaitEvent(CUstream s,CUevent e,unsigned f){return 0;}
CUresult cuEventCreate(CUevent*e,unsigned f){double*t=calloc(1,16);*e=(CUevent)t;return 0;}
CUresult cuEventDestroy_v2(CUevent e){free(e);return 0;}
static double vclock; CUresult cuEventRecord(CUevent e,CUstream s){((double*)e)[1]=vclock;return 0;}
CUresult cuEventSynchronize(CUevent e){syncs++;return 0;}
CUresult cuEventQuery(CUevent e){return 0;}
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float*ms,CUevent a,CUevent b){*ms=0.002f+(float)(1e3*(((double*)b)[1]-((double*)a)[1]));return 0;}
static void tick(Fn*f){ if(strstr(f->name,"throughput")||strstr(f->name,"overhead")||strstr(f->name,"prime")){long k=f->launches>16?16:f->launches; double c=1e-6*(1l<<k); vclock+=c>0.05?0.05:c; if(!strstr(f->name,"overhead")) usleep(20000);} else vclock+=2e-6; }
CUresult cuEventElapsedTime_v2(float*ms,CUevent a,CUevent b){return cuEventElapsedTime(ms,a,b);}
static void* get(size_t n){void*p=mmap(0,n+4096+65536,PROT_READ|PROT_WRITE,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); if(p==MAP_FAILED)return 0; *(size_t*)p=n; pthread_mutex_lock(&m);allocs++;held+=n;if(held>peak)peak=held;pthread_mutex_unlock(&m);return (char*)p+4096;}
static void put(void*p){ if(!p)return; p=(char*)p-4096; size_t n=*(size_t*)p; pthread_mutex_lock(&m);held-=n;pthread_mutex_unlock(&m); munmap(p,n+4096+65536);} 
CUresult cuMemAlloc_v2(CUdeviceptr*d,size_t n){void*p=get(n);if(!p)return 2;*d=(CUdeviceptr)p;return 0;}
CUresult cuMemAllocAsync(CUdeviceptr*d,size_t n,CUstream s){return cuMemAlloc_v2(d,n);}
CUresult cuMemFree_v2(CUdeviceptr d){put((void*)d);return 0;}
CUresult cuMemFreeAsync(CUdeviceptr d,CUstream s){put((void*)d);return 0;}
CUresult cuMemAllocHost_v2(void**p,size_t n){*p=aligned_alloc(4096,(n+4095)/4096*4096);return 0;}
CUresult cuMemFreeHost(void*p){free(p);return 0;}
CUresult cuMemGetInfo_v2(size_t*f,size_t*t){*t=(size_t)79<<30;*f=*t-held;return 0;}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr d,const void*s,size_t n,CUstream st){htod++;htodb+=n;memcpy((void*)d,s,n);if(logf_)fprintf(logf_,"%.6f htod %zu\n",now(),n);return 0;}
CUresult cuMemcpyHtoD_v2(CUdeviceptr d,const void*s,size_t n){htod++;memcpy((void*)d,s,n);return 0;}
static void short_reads(void*d,size_t n){ if(n<=4096) memset(d,0,n); }
CUresult cuMemcpyDtoHAsync_v2(void*d,CUdeviceptr s,size_t n,CUstream st){dtoh++;memcpy(d,(void*)s,n);short_reads(d,n);if(logf_)fprintf(logf_,"%.6f dtoh %zu\n",now(),n);return 0;}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr d,CUdeviceptr s,size_t n,CUstream st){memcpy((void*)d,(void*)s,n);return 0;}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D*c,CUstream s){
 const char*src=c->srcMemoryType==CU_MEMORYTYPE_HOST?c->srcHost:(const char*)c->srcDevice; char*dst=c->dstMemoryType==CU_MEMORYTYPE_HOST?c->dstHost:(char*)c->dstDevice;
 src+=c->srcXInBytes+c->srcY*c->srcPitch; dst+=c->dstXInBytes+c->dstY*c->dstPitch;
 if(logf_)fprintf(logf_,"%.6f copy2d %zu\n",now(),c->WidthInBytes*c->Height);
 for(size_t i=0;i<c->Height;i++)memcpy(dst+i*c->dstPitch,src+i*c->srcPitch,c->WidthInBytes); if(c->dstMemoryType==CU_MEMORYTYPE_HOST){dtoh++;short_reads(dst,c->WidthInBytes*c->Height);} return 0;}
CUresult cuMemsetD8Async(CUdeviceptr d,unsigned char v,size_t n,CUstream s){memset((void*)d,v,n);return 0;}
CUresult cuModuleLoadData(CUmodule*mo,const void*p){*mo=(CUmodule)0x5000;return 0;}
CUresult cuModuleUnload(CUmodule mo){return 0;}
CUresult cuModuleGetFunction(CUfunction*f,CUmodule mo,const char*n){Fn*x=calloc(1,sizeof*x);x->name=strdup(n);pthread_mutex_lock(&m);fns[nfn++]=x;pthread_mutex_unlock(&m);*f=(CUfunction)x;return 0;}
CUresult cuFuncSetAttribute(CUfunction f,CUfunction_attribute a,int v){return v>232448?CUDA_ERROR_INVALID_VALUE:0;}
CUresult cuFuncGetAttribute(int*v,CUfunction_attribute a,CUfunction f){*v=64;return 0;}
CUresult cuLaunchKernel(CUfunction f,unsigned a,unsigned b,unsigned c,unsigned d,unsigned e,unsigned g,unsigned sh,CUstream s,void**p,void**x){launches++;((Fn*)f)->launches++;tick((Fn*)f);if(logf_)fprintf(logf_,"%.6f launch %u,%u,%u x %u,%u,%u %s\n",now(),a,b,c,d,e,g,((Fn*)f)->name);return 0;}
CUresult cuLaunchKernelEx(const CUlaunchConfig*k,CUfunction f,void**p,void**x){launches++;((Fn*)f)->launches++;tick((Fn*)f);return 0;}
CUresult cuTensorMapEncodeTiled(CUtensorMap*t,CUtensorMapDataType a,cuuint32_t r,void*g,const cuuint64_t*d,const cuuint64_t*s,const cuuint32_t*b,const cuuint32_t*e,CUtensorMapInterleave i,CUtensorMapSwizzle w,CUtensorMapL2promotion l,CUtensorMapFloatOOBfill o){return 0;}
CUresult cuTensorMapEncodeIm2col(CUtensorMap*t,CUtensorMapDataType a,cuuint32_t r,void*g,const cuuint64_t*d,const cuuint64_t*s,const int*lo,const int*hi,cuuint32_t c,cuuint32_t px,const cuuint32_t*e,CUtensorMapInterleave i,CUtensorMapSwizzle w,CUtensorMapL2promotion l,CUtensorMapFloatOOBfill o){return 0;}
CUresult cuGetErrorName(CUresult e,const char**s){*s="ERR";return 0;}
CUresult cuGetErrorString(CUresult e,const char**s){*s="error";return 0;}
CUresult cuGetProcAddress_v2(const char*n,void**p,int v,cuuint64_t f,CUdriverProcAddressQueryResult*r){*p=0;return CUDA_ERROR_NOT_FOUND;}
