/* A CUDA driver without a GPU: a libcuda.so.1 whose device memory is the host's and whose "cubins"
 * are host shared objects made from CUDA C by build.py.
 *
 * Unmodified PyCUDA runs on it, so what allocates, copies and launches is tested where no GPU is:
 *
 * - cuMemAlloc is malloc, filled with 0xff (a NaN in every float type), counted and limited;
 * - cuMemcpy* is memmove, after a check that the device side lies in one allocation or variable;
 * - cuModuleLoadData writes the ELF image to a file and loads that;
 * - cuLaunchKernel calls the image's lazyt_launch, at once: streams are in order and always idle. A
 *   pointer to another device's memory is a fault;
 * - events are the time they were recorded at.
 *
 * Not modelled: concurrency of streams, graphs, textures, linking, IPC. Those entry points exist,
 * since PyCUDA resolves all of its symbols when it is imported, and answer
 * CUDA_ERROR_NOT_SUPPORTED.
 *
 * LAZYT_FAKE_CUDA_RACES=1 also looks for races in device memory, where modules were compiled with
 * checks and an allocation is at most 64 MiB: 24 bytes more for each byte that is touched.
 * LAZYT_CUDA_HOST_DEVICES (1 if unset) is how many devices there are. LAZYT_FAKE_CUDA_MEMORY (bytes,
 * 1 GiB if unset) is the size of each one's memory; the exported lazyt_driver_limit() changes it.
 * LAZYT_FAKE_CUDA_REVERSE=1 runs the threads of a block in reverse. LAZYT_FAKE_CUDA_PROTECT=1 takes
 * device memory out of the host's reach except in launches and copies: what touches it elsewhere
 * ends with a segmentation fault. LAZYT_FAKE_CUDA_PEER=0 leaves out copies between devices.
 * lazyt_driver_hold(1) makes every event pending, until lazyt_driver_hold(0). lazyt_driver_count() tells what was allocated, copied and launched; lazyt_driver_fault()
 * gives the message of the last launch that failed, which cuGetErrorString also shows.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr;

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    FILE_NOT_FOUND = 301,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    LAUNCH_OUT_OF_RESOURCES = 701,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801
};

enum {
    VERSION = 13000,
    SHARED_DEFAULT = 48 << 10,
    SHARED_OPTIN = 227 << 10,
    RACE_BYTES = 64 << 20,
    MAX_DEVICES = 16,
    PAGE = 4096
};

/* What a host shared object exports; cuda_host.h defines the same structures. */
typedef struct {
    char kind, pointee;
    unsigned char constant;
    unsigned size, align, pointee_size;
} Param;
typedef struct {
    const char *name;
    void (*invoke)(void **);
    int count;
    const Param *params;
    int max_threads;
    size_t static_shared;
} Kernel;
typedef struct {
    void *start;
    size_t bytes;
    unsigned granule;
    int writable;
    const char *name;
} Buffer;
typedef int (*Launch)(const Kernel *, const unsigned *, size_t, void **, const Buffer *, int, int);

typedef struct {
    int device, references;
} Context;
typedef struct {
    double milliseconds;
    int recorded;
} Event;
typedef struct Module {
    void *handle;
    Launch launch;
    const char *(*fault)(void);
    int (*count)(void);
    const Kernel *(*at)(int);
    struct Function *functions;
    struct Module *next;
} Module;
typedef struct Function {
    struct Function *next;
    Module *module;
    const Kernel *kernel;
    int max_dynamic_shared;
} Function;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Buffer *blocks; /* live allocations, by address */
static int *owners;    /* the device of each, -1 for memory of the host */
static int live, room;
static int device_count = 1, held;
static char *arena; /* where device memory lies if it is protected */
static int opened;  /* launches and copies that are under way */
static size_t arena_bytes, used_by[MAX_DEVICES];
static size_t memory_limit, used, peak, allocations, frees, launches, copies, streams, events,
    modules;
static Module *loaded;
static int initialized;
static char last_fault[4096];
static Context primary[MAX_DEVICES];
static __thread Context *stack[32];
static __thread int depth;

API void lazyt_driver_limit(size_t bytes) { memory_limit = bytes; }

API void lazyt_driver_hold(int hold) { held = hold; }

API const char *lazyt_driver_fault(void) { return last_fault; }

/* what: live (allocations), bytes (in them), peak (bytes), allocations, frees, launches, copies,
 * streams, events, modules (live ones); anything else gives SIZE_MAX. */
API size_t lazyt_driver_count(const char *what) {
    const struct {
        const char *name;
        size_t value;
    } counts[] = {
        {"live", (size_t)live},       {"bytes", used},      {"peak", peak},
        {"allocations", allocations}, {"frees", frees},     {"launches", launches},
        {"copies", copies},           {"streams", streams}, {"events", events},
        {"modules", modules},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (!strcmp(counts[i].name, what)) return counts[i].value;
    return SIZE_MAX;
}

/* ---------------------------------------------------------------- errors, versions, devices */

static const struct {
    CUresult code;
    const char *name, *text;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {FILE_NOT_FOUND, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

/* The out-pointer is written in every case: PyCUDA reads it whatever is returned. */
API CUresult cuGetErrorString(CUresult code, const char **text) {
    *text = "unrecognized error code";
    if (code == LAUNCH_FAILED && *last_fault) return *text = last_fault, SUCCESS;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *text = errors[i].text, SUCCESS;
    return INVALID_VALUE;
}

API CUresult cuGetErrorName(CUresult code, const char **name) {
    *name = "CUDA_ERROR_UNKNOWN";
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) return *name = errors[i].name, SUCCESS;
    return INVALID_VALUE;
}

static int chosen(const char *variable) {
    const char *value = getenv(variable);
    return value && *value == '1';
}

API CUresult cuInit(unsigned flags) {
    if (flags) return INVALID_VALUE;
    pthread_mutex_lock(&mutex);
    if (!initialized) {
        const char *count = getenv("LAZYT_CUDA_HOST_DEVICES");
        if (count) device_count = atoi(count);
        if (device_count < 0) device_count = 0;
        if (device_count > MAX_DEVICES) device_count = MAX_DEVICES;
        for (int i = 0; i < MAX_DEVICES; i++) primary[i].device = i;
        const char *bytes = getenv("LAZYT_FAKE_CUDA_MEMORY");
        if (!memory_limit) memory_limit = bytes ? strtoull(bytes, NULL, 10) : (size_t)1 << 30;
        if (chosen("LAZYT_FAKE_CUDA_PROTECT")) {
            /* Twice what fits: gaps between blocks are never too small all together. */
            arena_bytes = 2 * (size_t)device_count * memory_limit + PAGE;
            arena = mmap(NULL, arena_bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (arena == MAP_FAILED) arena = NULL;
        }
        initialized = 1;
    }
    pthread_mutex_unlock(&mutex);
    return SUCCESS;
}

API CUresult cuDriverGetVersion(int *version) { return *version = VERSION, SUCCESS; }

API CUresult cuDeviceGetCount(int *count) {
    if (!initialized) return NOT_INITIALIZED;
    return *count = device_count, SUCCESS;
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    if (!initialized) return NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= device_count) return INVALID_DEVICE;
    return *device = ordinal, SUCCESS;
}

API CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
    (void)device;
    return snprintf(name, (size_t)bytes, "host emulation of sm_90"), SUCCESS;
}

API CUresult cuDeviceGetPCIBusId(char *id, int bytes, CUdevice device) {
    return snprintf(id, (size_t)bytes, "0000:%02x:00.0", device), SUCCESS;
}

API CUresult cuDeviceGetByPCIBusId(CUdevice *device, const char *id) {
    if (sscanf(id, "0000:%02x:00.0", (unsigned *)device) != 1) return INVALID_DEVICE;
    return *device < device_count ? SUCCESS : INVALID_DEVICE;
}

API CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    (void)device;
    return *major = 9, *minor = 0, SUCCESS;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    (void)device;
    return *bytes = memory_limit, SUCCESS;
}

/* CUdevice_attribute -> its value on an H100 (sm_90). Others are 0: absent features, free modes. */
API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    static const int values[][2] = {
        {1, 1024},
        {2, 1024},
        {3, 1024},
        {4, 64},
        {5, 2147483647},
        {6, 65535},
        {7, 65535},
        {8, SHARED_DEFAULT},
        {9, 65536},
        {10, 32},
        {11, 2147483647},
        {12, 65536},
        {13, 1980000},
        {14, 512},
        {15, 1},
        {16, 132},
        {19, 1},
        {31, 1},
        {32, 1},
        {36, 2619000},
        {37, 5120},
        {38, 50 << 20},
        {39, 2048},
        {40, 3},
        {41, 1},
        {75, 9},
        {76, 0},
        {78, 1},
        {79, 1},
        {80, 1},
        {81, 228 << 10},
        {82, 65536},
        {83, 1},
        {90, 1},
        {97, SHARED_OPTIN},
        {106, 32},
        {111, 1024},
    };
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    *value = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i][0] == attribute) *value = values[i][1];
    return SUCCESS;
}

/* ---------------------------------------------------------------- contexts */

API CUresult cuCtxPushCurrent_v2(Context *context) {
    if (!context || depth == (int)(sizeof stack / sizeof *stack)) return INVALID_CONTEXT;
    return stack[depth++] = context, SUCCESS;
}

API CUresult cuCtxPopCurrent_v2(Context **context) {
    if (!depth) return INVALID_CONTEXT;
    Context *top = stack[--depth];
    if (context) *context = top;
    return SUCCESS;
}

static CUresult context_create(Context **context, CUdevice device) {
    if (!initialized) return NOT_INITIALIZED;
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    *context = calloc(1, sizeof **context);
    **context = (Context){device, 1};
    return cuCtxPushCurrent_v2(*context);
}

API CUresult cuCtxCreate_v2(Context **context, unsigned flags, CUdevice device) {
    (void)flags;
    return context_create(context, device);
}

API CUresult cuCtxCreate_v4(Context **context, void *params, unsigned flags, CUdevice device) {
    (void)params, (void)flags;
    return context_create(context, device);
}

API CUresult cuCtxGetCurrent(Context **context) {
    return *context = depth ? stack[depth - 1] : NULL, SUCCESS;
}

API CUresult cuCtxSetCurrent(Context *context) {
    if (depth) depth--;
    return context ? cuCtxPushCurrent_v2(context) : SUCCESS;
}

API CUresult cuCtxDestroy_v2(Context *context) {
    if (!context) return INVALID_CONTEXT;
    if (depth && stack[depth - 1] == context) depth--;
    if (context < primary || context >= primary + MAX_DEVICES) free(context);
    return SUCCESS;
}

API CUresult cuCtxDetach(Context *context) {
    if (!context) return INVALID_CONTEXT;
    return --context->references > 0 ? SUCCESS : cuCtxDestroy_v2(context);
}

API CUresult cuCtxAttach(Context **context, unsigned flags) {
    if (flags || !depth) return INVALID_CONTEXT;
    return *context = stack[depth - 1], (*context)->references++, SUCCESS;
}

API CUresult cuDevicePrimaryCtxRetain(Context **context, CUdevice device) {
    if (!initialized) return NOT_INITIALIZED;
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    return primary[device].references++, *context = &primary[device], SUCCESS;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    if (!primary[device].references) return INVALID_CONTEXT;
    return primary[device].references--, SUCCESS;
}

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    if (device < 0 || device >= device_count) return INVALID_DEVICE;
    return *flags = 0, *active = primary[device].references > 0, SUCCESS;
}

API CUresult cuCtxGetDevice(CUdevice *device) {
    if (!depth) return INVALID_CONTEXT;
    return *device = stack[depth - 1]->device, SUCCESS;
}

API CUresult cuCtxGetApiVersion(Context *context, unsigned *version) {
    (void)context;
    return *version = VERSION, SUCCESS;
}

API CUresult cuCtxSynchronize(void) { return depth ? SUCCESS : INVALID_CONTEXT; }
API CUresult cuCtxGetCacheConfig(int *config) { return *config = 0, SUCCESS; }
API CUresult cuCtxSetCacheConfig(int config) { return (void)config, SUCCESS; }
API CUresult cuCtxGetSharedMemConfig(int *config) { return *config = 0, SUCCESS; }
API CUresult cuCtxSetSharedMemConfig(int config) { return (void)config, SUCCESS; }
API CUresult cuCtxGetLimit(size_t *value, int limit) { return (void)limit, *value = 1024, SUCCESS; }
API CUresult cuCtxSetLimit(int limit, size_t value) { return (void)limit, (void)value, SUCCESS; }
API CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
    (void)device, (void)peer;
    return *can = 0, SUCCESS;
}

/* ---------------------------------------------------------------- memory */

/* The number of allocations that start at or before `address`. */
static int position(uintptr_t address) {
    int low = 0, high = live;
    while (low < high) {
        int middle = (low + high) / 2;
        if ((uintptr_t)blocks[middle].start <= address) low = middle + 1;
        else high = middle;
    }
    return low;
}

static Buffer *holding(CUdeviceptr address, size_t bytes) {
    int i = position(address) - 1;
    if (i < 0) return NULL;
    size_t offset = address - (uintptr_t)blocks[i].start;
    return offset <= blocks[i].bytes && bytes <= blocks[i].bytes - offset ? &blocks[i] : NULL;
}

/* Device memory that is protected can be touched between these two; both want the mutex. */
static void open_memory(void) {
    if (arena && !opened++) mprotect(arena, arena_bytes, PROT_READ | PROT_WRITE);
}
static void close_memory(void) {
    if (arena && !--opened) mprotect(arena, arena_bytes, PROT_NONE);
}

/* The first gap of the arena that is large enough: blocks lie in ascending order. */
static void *from_arena(size_t bytes) {
    uintptr_t at = (uintptr_t)arena, end = at + arena_bytes;
    for (int i = 0; i < live; i++) {
        uintptr_t start = (uintptr_t)blocks[i].start;
        if (start < (uintptr_t)arena || start >= end) continue;
        if (start - at >= bytes) break;
        at = (start + blocks[i].bytes + 255) / 256 * 256;
    }
    return at < end && end - at >= bytes ? (void *)at : NULL;
}

/* owner: the device, -1 for page-locked memory of the host. */
static CUresult allocate(void **pointer, size_t bytes, const char *kind, int owner) {
    void *start = NULL;
    CUresult result = OUT_OF_MEMORY;
    if (!bytes) return INVALID_VALUE;
    pthread_mutex_lock(&mutex);
    size_t taken = owner < 0 ? 0 : used_by[owner];
    if (bytes <= memory_limit && taken <= memory_limit - bytes) {
        if (owner >= 0 && arena) start = from_arena(bytes);
        else if (posix_memalign(&start, 256, bytes)) start = NULL;
    }
    if (start) {
        open_memory();
        memset(start, 0xff, bytes);
        close_memory();
        if (live == room) {
            room = room ? 2 * room : 64;
            blocks = realloc(blocks, (size_t)room * sizeof *blocks);
            owners = realloc(owners, (size_t)room * sizeof *owners);
        }
        int at = position((uintptr_t)start);
        memmove(blocks + at + 1, blocks + at, (size_t)(live - at) * sizeof *blocks);
        memmove(owners + at + 1, owners + at, (size_t)(live - at) * sizeof *owners);
        blocks[at] = (Buffer){start, bytes, 0, 1, kind};
        owners[at] = owner;
        live++, allocations++, used += bytes;
        if (owner >= 0) used_by[owner] += bytes;
        if (used > peak) peak = used;
        *pointer = start;
        result = SUCCESS;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static CUresult release(uintptr_t address) {
    CUresult result = INVALID_VALUE;
    pthread_mutex_lock(&mutex);
    int at = position(address) - 1;
    if (at >= 0 && (uintptr_t)blocks[at].start == address) {
        int protected = owners[at] >= 0 && arena;
        if (owners[at] >= 0) used_by[owners[at]] -= blocks[at].bytes;
        used -= blocks[at].bytes, live--, frees++;
        memmove(blocks + at, blocks + at + 1, (size_t)(live - at) * sizeof *blocks);
        memmove(owners + at, owners + at + 1, (size_t)(live - at) * sizeof *owners);
        if (!protected) free((void *)address);
        result = SUCCESS;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static int current(void) { return stack[depth - 1]->device; }

API CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
    void *start;
    if (!depth) return INVALID_CONTEXT;
    CUresult result = allocate(&start, bytes, "device memory", current());
    if (!result) *pointer = (uintptr_t)start;
    return result;
}

API CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return cuMemAlloc_v2(pointer, bytes);
}

API CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                                unsigned element) {
    (void)element;
    *pitch = (width + 511) / 512 * 512;
    return cuMemAlloc_v2(pointer, *pitch * height);
}

API CUresult cuMemFree_v2(CUdeviceptr pointer) { return pointer ? release(pointer) : SUCCESS; }

API CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return allocate(pointer, bytes, "pinned host memory", -1);
}

API CUresult cuMemAllocHost_v2(void **pointer, size_t bytes) {
    return cuMemHostAlloc(pointer, bytes, 0);
}
API CUresult cuMemFreeHost(void *pointer) { return release((uintptr_t)pointer); }
API CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags) {
    (void)pointer, (void)bytes, (void)flags;
    return SUCCESS;
}
API CUresult cuMemHostUnregister(void *pointer) { return (void)pointer, SUCCESS; }
API CUresult cuMemHostGetFlags(unsigned *flags, void *pointer) {
    return (void)pointer, *flags = 0, SUCCESS;
}
API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *pointer, unsigned flags) {
    (void)flags;
    return *device = (uintptr_t)pointer, SUCCESS;
}

API CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    if (!depth) return INVALID_CONTEXT;
    size_t taken = used_by[current()];
    *free_bytes = memory_limit > taken ? memory_limit - taken : 0;
    return *total = memory_limit, SUCCESS;
}

API CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
    CUresult result = INVALID_VALUE;
    pthread_mutex_lock(&mutex);
    Buffer *block = holding(pointer, 1);
    if (block) {
        if (base) *base = (uintptr_t)block->start;
        if (bytes) *bytes = block->bytes;
        result = SUCCESS;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

/* Whether the bytes are those of one live allocation, or of a variable of a loaded module. */
static int on_device(CUdeviceptr address, size_t bytes) {
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (holding(address, bytes)) return 1;
    if (!dladdr1((void *)(uintptr_t)address, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
        return 0;
    if (address + bytes > (uintptr_t)info.dli_saddr + symbol->st_size) return 0;
    for (Module *m = loaded; m; m = m->next)
        if (((struct link_map *)m->handle)->l_addr == (uintptr_t)info.dli_fbase) return 1;
    return 0;
}

/* The device side of a copy is looked at; the host's is the caller's business. */
static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, int to_device,
                     int from_device) {
    if (!depth) return INVALID_CONTEXT;
    if (!bytes) return SUCCESS;
    pthread_mutex_lock(&mutex);
    int valid = (!to_device || on_device(to, bytes)) && (!from_device || on_device(from, bytes));
    copies++;
    if (valid) {
        open_memory();
        memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
        close_memory();
    }
    pthread_mutex_unlock(&mutex);
    return valid ? SUCCESS : INVALID_VALUE;
}

API CUresult cuMemcpyPeer(CUdeviceptr to, Context *to_context, CUdeviceptr from,
                          Context *from_context, size_t bytes) {
    const char *peer = getenv("LAZYT_FAKE_CUDA_PEER");
    if (peer && *peer == '0') return NOT_SUPPORTED;
    if (!to_context || !from_context) return INVALID_CONTEXT;
    return copy(to, from, bytes, 1, 1);
}
API CUresult cuMemcpyPeerAsync(CUdeviceptr to, Context *to_context, CUdeviceptr from,
                               Context *from_context, size_t bytes, void *stream) {
    return (void)stream, cuMemcpyPeer(to, to_context, from, from_context, bytes);
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
    return copy(to, (uintptr_t)from, bytes, 1, 0);
}
API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
    return copy((uintptr_t)to, from, bytes, 0, 1);
}
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return copy(to, from, bytes, 1, 1);
}
API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, void *stream) {
    return (void)stream, copy(to, (uintptr_t)from, bytes, 1, 0);
}
API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, void *stream) {
    return (void)stream, copy((uintptr_t)to, from, bytes, 0, 1);
}
API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, void *stream) {
    return (void)stream, copy(to, from, bytes, 1, 1);
}

/* The layout of CUDA_MEMCPY3D and, without its depth, of CUDA_MEMCPY2D. */
typedef struct {
    size_t x, y;
    unsigned type;
    const void *host;
    CUdeviceptr device;
    void *array;
    size_t pitch;
} Side2D;
typedef struct {
    Side2D from, to;
    size_t width, height;
} Copy2D;
typedef struct {
    size_t x, y, z, level;
    unsigned type;
    const void *host;
    CUdeviceptr device;
    void *array, *reserved;
    size_t pitch, height;
} Side3D;
typedef struct {
    Side3D from, to;
    size_t width, height, depth;
} Copy3D;

enum { MEMORY_HOST = 1, MEMORY_ARRAY = 3 };

static CUdeviceptr row(const Side3D *side, size_t y, size_t z) {
    CUdeviceptr base = side->type == MEMORY_HOST ? (uintptr_t)side->host : side->device;
    return base + ((side->z + z) * side->height + side->y + y) * side->pitch + side->x;
}

API CUresult cuMemcpy3D_v2(const Copy3D *p) {
    if (p->from.type == MEMORY_ARRAY || p->to.type == MEMORY_ARRAY) return NOT_SUPPORTED;
    for (size_t z = 0; z < p->depth; z++)
        for (size_t y = 0; y < p->height; y++) {
            CUresult result = copy(row(&p->to, y, z), row(&p->from, y, z), p->width,
                                   p->to.type != MEMORY_HOST, p->from.type != MEMORY_HOST);
            if (result) return result;
        }
    return SUCCESS;
}
API CUresult cuMemcpy3DAsync_v2(const Copy3D *p, void *stream) {
    return (void)stream, cuMemcpy3D_v2(p);
}

static Side3D deepen(const Side2D *side) {
    return (Side3D){side->x,      side->y,     0,    0,           side->type, side->host,
                    side->device, side->array, NULL, side->pitch, 0};
}

API CUresult cuMemcpy2D_v2(const Copy2D *p) {
    Copy3D whole = {deepen(&p->from), deepen(&p->to), p->width, p->height, 1};
    return cuMemcpy3D_v2(&whole);
}
API CUresult cuMemcpy2DUnaligned_v2(const Copy2D *p) { return cuMemcpy2D_v2(p); }
API CUresult cuMemcpy2DAsync_v2(const Copy2D *p, void *stream) {
    return (void)stream, cuMemcpy2D_v2(p);
}

static CUresult fill(CUdeviceptr to, size_t pitch, const void *value, size_t size, size_t width,
                     size_t height) {
    if (!depth) return INVALID_CONTEXT;
    if (!width || !height) return SUCCESS;
    pthread_mutex_lock(&mutex);
    int valid = on_device(to, (height - 1) * pitch + width * size);
    open_memory();
    for (size_t y = 0; valid && y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy((char *)(uintptr_t)to + y * pitch + x * size, value, size);
    close_memory();
    pthread_mutex_unlock(&mutex);
    return valid ? SUCCESS : INVALID_VALUE;
}

#define MEMSET(bits, type)                                                                \
    API CUresult cuMemsetD##bits##_v2(CUdeviceptr to, type v, size_t n) {                 \
        return fill(to, 0, &v, sizeof v, n, 1);                                           \
    }                                                                                     \
    API CUresult cuMemsetD##bits##Async(CUdeviceptr to, type v, size_t n, void *stream) { \
        return (void)stream, fill(to, 0, &v, sizeof v, n, 1);                             \
    }                                                                                     \
    API CUresult cuMemsetD2D##bits##_v2(CUdeviceptr to, size_t pitch, type v, size_t w,   \
                                        size_t h) {                                       \
        return fill(to, pitch, &v, sizeof v, w, h);                                       \
    }                                                                                     \
    API CUresult cuMemsetD2D##bits##Async(CUdeviceptr to, size_t pitch, type v, size_t w, \
                                          size_t h, void *stream) {                       \
        return (void)stream, fill(to, pitch, &v, sizeof v, w, h);                         \
    }
MEMSET(8, unsigned char)
MEMSET(16, unsigned short)
MEMSET(32, unsigned)

/* ---------------------------------------------------------------- streams and events */

API CUresult cuStreamCreate(void **stream, unsigned flags) {
    (void)flags;
    if (!depth) return INVALID_CONTEXT;
    return *stream = malloc(16), streams++, SUCCESS;
}
API CUresult cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
    return (void)priority, cuStreamCreate(stream, flags);
}
API CUresult cuStreamDestroy_v2(void *stream) {
    if (!stream) return INVALID_HANDLE;
    return free(stream), streams--, SUCCESS;
}
API CUresult cuStreamQuery(void *stream) { return (void)stream, SUCCESS; }
API CUresult cuStreamSynchronize(void *stream) { return (void)stream, SUCCESS; }
API CUresult cuStreamWaitEvent(void *stream, Event *event, unsigned flags) {
    (void)stream, (void)flags;
    return event ? SUCCESS : INVALID_HANDLE;
}

API CUresult cuEventCreate(Event **event, unsigned flags) {
    (void)flags;
    if (!depth) return INVALID_CONTEXT;
    return *event = calloc(1, sizeof **event), events++, SUCCESS;
}
API CUresult cuEventDestroy_v2(Event *event) {
    if (!event) return INVALID_HANDLE;
    return free(event), events--, SUCCESS;
}
API CUresult cuEventRecord(Event *event, void *stream) {
    struct timespec now;
    (void)stream;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->milliseconds = 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
    return event->recorded = 1, SUCCESS;
}
API CUresult cuEventQuery(Event *event) {
    return event ? held && event->recorded ? NOT_READY : SUCCESS : INVALID_HANDLE;
}
API CUresult cuEventSynchronize(Event *event) { return event ? SUCCESS : INVALID_HANDLE; }
API CUresult cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *end) {
    if (!start->recorded || !end->recorded) return INVALID_HANDLE;
    return *milliseconds = (float)(end->milliseconds - start->milliseconds), SUCCESS;
}
API CUresult cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}

/* ---------------------------------------------------------------- modules and launches */

/* The section headers end a shared object as linkers write it, so they tell its size. */
static size_t image_bytes(const Elf64_Ehdr *image) {
    return image->e_shoff + (size_t)image->e_shnum * image->e_shentsize;
}

/* A file of its own for each load: dlopen gives the same library twice for the same path. */
static CUresult load(Module **module, const void *image) {
    const Elf64_Ehdr *header = image;
    char path[] = "/tmp/lazyt-module-XXXXXX";
    if (memcmp(header->e_ident, ELFMAG, SELFMAG)) return INVALID_IMAGE;
    if (header->e_type != ET_DYN || header->e_shoff == 0) return NO_BINARY_FOR_GPU;
    int file = mkstemp(path);
    if (file < 0) return FILE_NOT_FOUND;
    const char *rest = image;
    size_t left = image_bytes(header);
    while (left) {
        ssize_t written = write(file, rest, left);
        if (written <= 0) break;
        rest += written, left -= (size_t)written;
    }
    close(file);
    void *handle = left ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) fprintf(stderr, "cuModuleLoadData: %s\n", left ? "cannot write" : dlerror());
    unlink(path);
    if (!handle) return NO_BINARY_FOR_GPU;
    Module *m = calloc(1, sizeof *m);
    m->handle = handle;
    m->launch = (Launch)dlsym(handle, "lazyt_launch");
    m->fault = (const char *(*)(void))dlsym(handle, "lazyt_fault");
    m->count = (int (*)(void))dlsym(handle, "lazyt_kernel_count");
    m->at = (const Kernel *(*)(int))dlsym(handle, "lazyt_kernel_at");
    if (!m->launch || !m->fault || !m->count || !m->at) {
        dlclose(handle);
        free(m);
        return INVALID_IMAGE;
    }
    pthread_mutex_lock(&mutex);
    m->next = loaded, loaded = m, modules++;
    pthread_mutex_unlock(&mutex);
    return *module = m, SUCCESS;
}

API CUresult cuModuleLoadData(Module **module, const void *image) {
    if (!depth) return INVALID_CONTEXT;
    return load(module, image);
}

API CUresult cuModuleLoadDataEx(Module **module, const void *image, unsigned count, int *options,
                                void **values) {
    (void)count, (void)options, (void)values;
    return cuModuleLoadData(module, image);
}

API CUresult cuModuleLoad(Module **module, const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return FILE_NOT_FOUND;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    void *image = calloc(1, bytes + sizeof(Elf64_Ehdr));
    rewind(file);
    size_t got = fread(image, 1, bytes, file);
    fclose(file);
    int whole = got == bytes && bytes >= sizeof(Elf64_Ehdr) && image_bytes(image) <= bytes;
    CUresult result = whole ? cuModuleLoadData(module, image) : INVALID_IMAGE;
    free(image);
    return result;
}

API CUresult cuModuleUnload(Module *module) {
    if (!module) return INVALID_HANDLE;
    pthread_mutex_lock(&mutex);
    for (Module **m = &loaded; *m; m = &(*m)->next)
        if (*m == module) {
            *m = module->next, modules--;
            break;
        }
    pthread_mutex_unlock(&mutex);
    for (Function *f = module->functions, *next; f; f = next) next = f->next, free(f);
    dlclose(module->handle);
    free(module);
    return SUCCESS;
}

API CUresult cuModuleGetFunction(Function **function, Module *module, const char *name) {
    if (!module) return INVALID_HANDLE;
    for (int i = 0; i < module->count(); i++) {
        const Kernel *kernel = module->at(i);
        if (strcmp(kernel->name, name)) continue;
        Function *f = calloc(1, sizeof *f);
        int left = SHARED_DEFAULT - (int)kernel->static_shared;
        *f = (Function){module->functions, module, kernel, left > 0 ? left : 0};
        return module->functions = f, *function = f, SUCCESS;
    }
    return NOT_FOUND;
}

API CUresult cuModuleGetGlobal_v2(CUdeviceptr *pointer, size_t *bytes, Module *module,
                                  const char *name) {
    Dl_info info;
    const ElfW(Sym) * symbol;
    void *address = module ? dlsym(module->handle, name) : NULL;
    if (!address || !dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
        return NOT_FOUND;
    if (pointer) *pointer = (uintptr_t)address;
    if (bytes) *bytes = symbol->st_size;
    return SUCCESS;
}

/* CUfunction_attribute, by number. */
API CUresult cuFuncGetAttribute(int *value, int attribute, Function *f) {
    const int values[] = {f->kernel->max_threads,
                          (int)f->kernel->static_shared,
                          0,
                          0,
                          32,
                          90,
                          90,
                          0,
                          f->max_dynamic_shared,
                          -1};
    if (attribute < 0 || attribute > 9) return INVALID_VALUE;
    return *value = values[attribute], SUCCESS;
}

API CUresult cuFuncSetAttribute(Function *f, int attribute, int value) {
    if (attribute == 9) return SUCCESS; /* a preference of carveout */
    if (attribute != 8 || value < 0) return INVALID_VALUE;
    if (value > SHARED_OPTIN - (int)f->kernel->static_shared) return INVALID_VALUE;
    return f->max_dynamic_shared = value, SUCCESS;
}

API CUresult cuFuncSetCacheConfig(Function *f, int config) {
    return (void)f, (void)config, SUCCESS;
}
API CUresult cuFuncSetSharedMemConfig(Function *f, int config) {
    return (void)f, (void)config, SUCCESS;
}

/* What the launches before CUDA 4 kept in the function. PyCUDA's plain call still sets the shape,
 * and then launches with one of its own. */
API CUresult cuFuncSetBlockShape(Function *f, int x, int y, int z) {
    if (x < 1 || y < 1 || z < 1 || x > 1024 || y > 1024 || z > 64) return INVALID_VALUE;
    return (int64_t)x * y * z > f->kernel->max_threads ? INVALID_VALUE : SUCCESS;
}
API CUresult cuFuncSetSharedSize(Function *f, unsigned bytes) {
    return bytes > (unsigned)f->max_dynamic_shared ? INVALID_VALUE : SUCCESS;
}

/* The first pointer among the arguments that is to memory of a device that does not run the kernel;
 * -1 if there is none. */
static int foreign(const Kernel *kernel, void **params) {
    for (int i = 0; i < kernel->count; i++) {
        CUdeviceptr pointer;
        if (kernel->params[i].kind != 'p') continue;
        memcpy(&pointer, params[i], sizeof pointer);
        Buffer *block = holding(pointer, 0);
        int owner = block ? owners[block - blocks] : -1;
        if (owner >= 0 && owner != current()) return i;
    }
    return -1;
}

API CUresult cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                            unsigned by, unsigned bz, unsigned shared, void *stream, void **params,
                            void **extra) {
    enum { EXTRA_POINTER = 1, EXTRA_SIZE = 2 };
    const unsigned dims[6] = {gx, gy, gz, bx, by, bz};
    const Kernel *kernel = f->kernel;
    void *unpacked[256];
    (void)stream;
    if (!depth) return INVALID_CONTEXT;
    if (!gx || !gy || !gz || !bx || !by || !bz) return INVALID_VALUE;
    if (gx > 2147483647u || gy > 65535 || gz > 65535 || bx > 1024 || by > 1024 || bz > 64)
        return INVALID_VALUE;
    if ((uint64_t)bx * by * bz > (uint64_t)kernel->max_threads) return INVALID_VALUE;
    if (shared > (unsigned)f->max_dynamic_shared) return INVALID_VALUE;
    if (!params) {
        /* One packed buffer, each argument at its own alignment. */
        char *packed = NULL;
        size_t bytes = 0, offset = 0;
        for (void **e = extra; e && *e; e += 2) {
            if ((uintptr_t)*e == EXTRA_POINTER) packed = e[1];
            if ((uintptr_t)*e == EXTRA_SIZE) bytes = *(size_t *)e[1];
        }
        if (kernel->count > 256) return LAUNCH_OUT_OF_RESOURCES;
        for (int i = 0; i < kernel->count; i++) {
            size_t align = kernel->params[i].align;
            offset = (offset + align - 1) / align * align;
            unpacked[i] = packed + offset;
            offset += kernel->params[i].size;
        }
        if (offset > bytes) return LAUNCH_OUT_OF_RESOURCES;
        params = unpacked;
    }
    pthread_mutex_lock(&mutex);
    launches++;
    int reverse = chosen("LAZYT_FAKE_CUDA_REVERSE"), races = chosen("LAZYT_FAKE_CUDA_RACES");
    Buffer *reachable = malloc(((size_t)live + 1) * sizeof *reachable);
    int count = 0, stranger = foreign(kernel, params), failed = stranger >= 0;
    for (int i = 0; i < live; i++) {
        if (owners[i] >= 0 && owners[i] != current()) continue;
        reachable[count] = blocks[i];
        reachable[count++].granule = races && blocks[i].bytes <= RACE_BYTES;
    }
    if (failed) {
        snprintf(last_fault, sizeof last_fault,
                 "kernel '%s' on device %d: argument %d is memory of another device", kernel->name,
                 current(), stranger);
    } else {
        open_memory();
        failed = f->module->launch(kernel, dims, shared, params, reachable, count, reverse);
        close_memory();
        if (failed) snprintf(last_fault, sizeof last_fault, "%s", f->module->fault());
    }
    free(reachable);
    pthread_mutex_unlock(&mutex);
    return failed ? LAUNCH_FAILED : SUCCESS;
}

/* ---------------------------------------------------------------- present, not supported */

#define UNSUPPORTED(name) \
    API CUresult name(void) { return NOT_SUPPORTED; }
UNSUPPORTED(cuArray3DCreate_v2)
UNSUPPORTED(cuArray3DGetDescriptor_v2)
UNSUPPORTED(cuArrayCreate_v2)
UNSUPPORTED(cuArrayDestroy)
UNSUPPORTED(cuArrayGetDescriptor_v2)
UNSUPPORTED(cuCtxDisablePeerAccess)
UNSUPPORTED(cuCtxEnablePeerAccess)
UNSUPPORTED(cuIpcCloseMemHandle)
UNSUPPORTED(cuIpcGetEventHandle)
UNSUPPORTED(cuIpcGetMemHandle)
UNSUPPORTED(cuIpcOpenEventHandle)
UNSUPPORTED(cuIpcOpenMemHandle)
UNSUPPORTED(cuIpcOpenMemHandle_v2)
UNSUPPORTED(cuLaunch)
UNSUPPORTED(cuLaunchGrid)
UNSUPPORTED(cuLaunchGridAsync)
UNSUPPORTED(cuLinkAddData_v2)
UNSUPPORTED(cuLinkAddFile_v2)
UNSUPPORTED(cuLinkComplete)
UNSUPPORTED(cuLinkCreate_v2)
UNSUPPORTED(cuLinkDestroy)
UNSUPPORTED(cuMemcpy3DPeer)
UNSUPPORTED(cuMemcpy3DPeerAsync)
UNSUPPORTED(cuMemcpyAtoA_v2)
UNSUPPORTED(cuMemcpyAtoD_v2)
UNSUPPORTED(cuMemcpyAtoH_v2)
UNSUPPORTED(cuMemcpyDtoA_v2)
UNSUPPORTED(cuMemcpyHtoA_v2)
UNSUPPORTED(cuModuleGetSurfRef)
UNSUPPORTED(cuModuleGetTexRef)
UNSUPPORTED(cuParamSetSize)
UNSUPPORTED(cuParamSetTexRef)
UNSUPPORTED(cuParamSetf)
UNSUPPORTED(cuParamSeti)
UNSUPPORTED(cuParamSetv)
UNSUPPORTED(cuProfilerInitialize)
UNSUPPORTED(cuProfilerStart)
UNSUPPORTED(cuProfilerStop)
UNSUPPORTED(cuStreamAttachMemAsync)
UNSUPPORTED(cuStreamBeginCapture_v2)
UNSUPPORTED(cuSurfRefGetArray)
UNSUPPORTED(cuSurfRefSetArray)
UNSUPPORTED(cuTexRefCreate)
UNSUPPORTED(cuTexRefDestroy)
UNSUPPORTED(cuTexRefGetAddress)
UNSUPPORTED(cuTexRefGetAddressMode)
UNSUPPORTED(cuTexRefGetAddress_v2)
UNSUPPORTED(cuTexRefGetArray)
UNSUPPORTED(cuTexRefGetFilterMode)
UNSUPPORTED(cuTexRefGetFlags)
UNSUPPORTED(cuTexRefGetFormat)
UNSUPPORTED(cuTexRefSetAddress2D_v3)
UNSUPPORTED(cuTexRefSetAddressMode)
UNSUPPORTED(cuTexRefSetAddress_v2)
UNSUPPORTED(cuTexRefSetArray)
UNSUPPORTED(cuTexRefSetFilterMode)
UNSUPPORTED(cuTexRefSetFlags)
UNSUPPORTED(cuTexRefSetFormat)
