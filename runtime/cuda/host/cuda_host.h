// CUDA C on the host: unchanged .cu text compiles with g++ or clang after this header, and its
// kernels run under a launch that looks for the faults a GPU would not report.
//
//     extern "C" __global__ void twice(float* a, int n) {
//         int i = blockIdx.x * blockDim.x + threadIdx.x;
//         if (i < n) a[i] *= 2;
//     }
//
// Execution. Blocks run one after another. The threads of a block run one at a time, each until it
// waits or ends: a worker (a small stack) runs thread after thread, so a kernel that never waits is
// a plain loop, and a thread that waits keeps its worker while the next ones get others. A thread
// is
//
//     unstarted -> running -> at a block barrier, or at a warp operation -> ready -> ... -> done
//
// and threads are taken in ascending order, or descending ("reverse"): what passes in both orders
// does not depend on one of them.
//
// Shared memory. `__shared__` puts an array into a section of its own, behind a guard array; at
// load the symbol table tells where each array lies. Every byte of the section that no array has is
// guard. Before each block the kernel's arrays are filled with 0xff: a NaN in every float type.
//
// Checks. LAZYT_CHECK is for units compiled with -fsanitize=thread and linked *without* its
// library: the compiler then calls __tsan_read4(address) and the like before each access of memory,
// and these functions are here. For each byte of shared memory, and each element of the buffers
// passed, they keep who wrote and who read last (`Cell`), which finds reads of what was never
// written in this block, accesses outside of every array, and races, whatever the order of the
// threads. LAZYT_ASAN is for units compiled with -fsanitize=address. Without both, guards are
// compared at each barrier.
//
// Not modelled: the memory model below barriers (a race of plain accesses is reported instead),
// progress of blocks beside each other, inline PTX, textures, and conversion of floats that no int
// can hold (the GPU saturates).
//
// Needs ELF (Linux): the section and the symbol table. The unit is built by build.py, which
// includes this header, the source, and a table of its kernels made with LAZYT_KERNEL.
//
// Dynamic shared memory is declared by a macro, since its declaration in CUDA has no size and no
// place. Sources that are also for nvcc or NVRTC define it themselves where this header did not:
//
//     #ifndef LAZYT_DYNAMIC_SHARED
//     #define LAZYT_DYNAMIC_SHARED(type, name)                          \
//         extern __shared__ __align__(16) unsigned char lazyt_dynamic[]; \
//         type* name = reinterpret_cast<type*>(lazyt_dynamic)
//     #endif
#pragma once

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <type_traits>
#include <utility>

#if !defined(__x86_64__) && !defined(LAZYT_UCONTEXT)
#define LAZYT_UCONTEXT
#endif
#ifdef LAZYT_UCONTEXT
#include <ucontext.h>
#endif

#ifdef LAZYT_ASAN
extern "C" {
void __asan_poison_memory_region(const void*, size_t);
void __asan_unpoison_memory_region(const void*, size_t);
void __sanitizer_start_switch_fiber(void**, const void*, size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
}
#endif

// ------------------------------------------------------------------------------------ qualifiers

#ifdef __clang__
#define LAZYT_OPAQUE noinline
#else
#define LAZYT_OPAQUE noipa
#endif
#define LAZYT_JOIN2(a, b) a##b
#define LAZYT_JOIN(a, b) LAZYT_JOIN2(a, b)
#define LAZYT_SHARED_SECTION __attribute__((section("lazyt_shared"), used))

// A kernel is opaque to its caller: `threadIdx` is constant inside, and changes between calls.
#define __global__ __attribute__((LAZYT_OPAQUE, visibility("default")))
#define __device__ __attribute__((visibility("default")))
#define __constant__ __attribute__((visibility("default")))
#define __managed__ __attribute__((visibility("default")))
#define __host__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__                                                                       \
    static LAZYT_SHARED_SECTION unsigned char LAZYT_JOIN(lazyt_guard_, __COUNTER__)[64]; \
    static LAZYT_SHARED_SECTION
#define LAZYT_DYNAMIC_SHARED(type, name) type* name = (type*)lazyt_host::dynamic_shared()

// What the kernel's code calls and what the checks call is not itself checked.
#define LAZYT_UNCHECKED __attribute__((no_sanitize("thread", "address")))
#define LAZYT_RUNTIME LAZYT_UNCHECKED __attribute__((unused)) static
#define LAZYT_EXPORT extern "C" LAZYT_UNCHECKED __attribute__((visibility("default")))
#define LAZYT_INLINE __attribute__((always_inline)) inline

// ---------------------------------------------------------------------------------- vector types

#define LAZYT_VECTORS(name, type, align2, align4)                                     \
    struct name##1 {                                                                  \
        type x;                                                                       \
    };                                                                                \
    struct __align__(align2) name##2 {                                                \
        type x, y;                                                                    \
    };                                                                                \
    struct name##3 {                                                                  \
        type x, y, z;                                                                 \
    };                                                                                \
    struct __align__(align4) name##4 {                                                \
        type x, y, z, w;                                                              \
    };                                                                                \
    LAZYT_INLINE name##1 make_##name##1(type x) { return {x}; }                       \
    LAZYT_INLINE name##2 make_##name##2(type x, type y) { return {x, y}; }            \
    LAZYT_INLINE name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; } \
    LAZYT_INLINE name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
LAZYT_VECTORS(char, signed char, 2, 4)
LAZYT_VECTORS(uchar, unsigned char, 2, 4)
LAZYT_VECTORS(short, short, 4, 8)
LAZYT_VECTORS(ushort, unsigned short, 4, 8)
LAZYT_VECTORS(int, int, 8, 16)
LAZYT_VECTORS(uint, unsigned, 8, 16)
LAZYT_VECTORS(longlong, long long, 16, 16)
LAZYT_VECTORS(ulonglong, unsigned long long, 16, 16)
LAZYT_VECTORS(float, float, 8, 16)
LAZYT_VECTORS(double, double, 16, 16)
#undef LAZYT_VECTORS

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Constant in the eyes of a kernel (so reads of them need no check), written by the scheduler under
// another name of the same address.
#define LAZYT_SEEN_AS(symbol) __asm__(symbol) __attribute__((visibility("hidden")))
extern "C" {
extern const uint3 threadIdx LAZYT_SEEN_AS("lazyt_thread_index");
extern const uint3 blockIdx LAZYT_SEEN_AS("lazyt_block_index");
extern const dim3 blockDim LAZYT_SEEN_AS("lazyt_block_size");
extern const dim3 gridDim LAZYT_SEEN_AS("lazyt_grid_size");
}
static constexpr int warpSize = 32;

// ------------------------------------------------------------- what a host shared object exports

// kind, pointee: 'p' pointer, 'f' float, 'g' bfloat16, 'i' signed, 'u' unsigned, 'b' bool, 's'
// other. driver.c and launch.py define the same three structures.
struct lazyt_param {
    char kind, pointee;
    unsigned char constant;
    unsigned size, align, pointee_size;
};
struct lazyt_kernel {
    const char* name;
    void (*invoke)(void** params);
    int count;
    const lazyt_param* params;
    int max_threads;
    size_t static_shared;  // bytes
};
// Buffers are passed by ascending address. granule: bytes of one element, the unit in which races
// are looked for; 0 for not at all.
struct lazyt_buffer {
    void* start;
    size_t bytes;
    unsigned granule;
    int writable;
    const char* name;
};
extern lazyt_kernel lazyt_kernels[];
extern const int lazyt_kernel_total;

namespace lazyt_host {

// In the order of launch.py's FAULTS.
enum Fault {
    NONE,
    BARRIER,
    WARP,
    SHARED_BOUNDS,
    UNINITIALISED,
    GLOBAL_BOUNDS,
    RACE,
    TRAP,
    ASSERTION,
    STACK,
    LAUNCH
};

enum State : unsigned char { UNSTARTED, READY, AT_BARRIER, AT_WARP, DONE };
enum Kind : unsigned char {
    SHUFFLE,
    SHUFFLE_UP,
    SHUFFLE_DOWN,
    SHUFFLE_XOR,
    BALLOT,
    ANY,
    ALL,
    SYNC,
    COLLECTIVE
};
static const char* const KIND[] = {"__shfl_sync",     "__shfl_up_sync", "__shfl_down_sync",
                                   "__shfl_xor_sync", "__ballot_sync",  "__any_sync",
                                   "__all_sync",      "__syncwarp",     "a matrix operation"};

enum {
    MAX_THREADS = 1024,
    GUARD = 256,
    GUARD_BYTE = 0xc5,
    POISON = 0xff,
    SHARED_LIMIT = 227 << 10
};
#ifdef LAZYT_ASAN
enum { STACK_BYTES = 256 << 10 };
#else
enum { STACK_BYTES = 64 << 10 };
#endif
// Not a power of two: the tops of the stacks would share the sets of the cache.
enum { STACK_STRIDE = STACK_BYTES + 17 * 64 };
static const uint64_t CANARY = 0x7fb4a1c3d2e5968bULL;

struct Thread {
    uint64_t value, result;
    unsigned mask, width;
    int source, line, worker;
    State state;
    Kind kind;
};

#ifdef LAZYT_UCONTEXT
typedef ucontext_t Context;
#else
struct Context {
    void* stack_pointer;
};
#endif

// What the lanes of a whole warp do together: `run` is called once they have all come, with what
// each of them passed.
struct Collective {
    void (*run)(Collective* const* lanes);
};

struct Array {
    unsigned char* start;
    size_t bytes;
    const char* name;
    int owner;  // the kernel that declares it; -1 for one of a device function
};

static Thread threads[MAX_THREADS];
static uint3 indices[MAX_THREADS];
static Context workers[MAX_THREADS], scheduler;
static int idle[MAX_THREADS], idle_count;
static unsigned char* stacks;
static unsigned exited[MAX_THREADS / 32];

static const lazyt_kernel* kernel;
static void** params;
static int size, started, done, current = -1;
static bool reverse, running;
static Fault failure;
static char message[2048];
static uintptr_t fault_pc;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

// Threads at the barrier; true predicates among them; those of the barrier before.
static int waiting, barrier_count, barrier_result;
static int warp_waiting;  // threads at a warp operation

static Array* arrays;  // of shared memory, by address
static int array_count;
static Array* objects;  // the unit's other variables, by address
static int object_count;
static unsigned char *section, *section_end;
static uintptr_t image, constant_start[16], constant_end[16];  // the unit's read-only segments
static int constant_count;
__attribute__((aligned(256))) static unsigned char arena[GUARD + SHARED_LIMIT + GUARD];
static unsigned char* const dynamic = arena + GUARD;
static size_t dynamic_bytes;

extern "C" {
__attribute__((visibility("hidden"), used))
uint3 lazyt_thread_storage __asm__("lazyt_thread_index");
__attribute__((visibility("hidden"), used)) uint3 lazyt_block_storage __asm__("lazyt_block_index");
__attribute__((visibility("hidden"), used)) dim3 lazyt_size_storage __asm__("lazyt_block_size");
__attribute__((visibility("hidden"), used)) dim3 lazyt_grid_storage __asm__("lazyt_grid_size");
extern unsigned char __start_lazyt_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_lazyt_shared[] __attribute__((weak, visibility("hidden")));
}

// ------------------------------------------------------------------------------------- switching

#ifdef LAZYT_UCONTEXT
LAZYT_RUNTIME void switch_context(Context& from, Context& to) { swapcontext(&from, &to); }
#else
// Callee-saved registers to the old stack, the rest is the caller's business by the x86-64 ABI. In
// assembly, not in a function the compiler sees: it would take the other registers for unchanged.
extern "C" __attribute__((visibility("hidden"))) void lazyt_switch(void** save, void* load);
__asm__(
    ".pushsection .text\n.globl lazyt_switch\n.hidden lazyt_switch\n.type lazyt_switch,@function\n"
    "lazyt_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
    ".size lazyt_switch,.-lazyt_switch\n.popsection\n");
LAZYT_RUNTIME void switch_context(Context& from, Context& to) {
    lazyt_switch(&from.stack_pointer, to.stack_pointer);
}
#endif

// The first stride is spare: a stack that overflows runs into mapped memory, and is found by its
// canary.
LAZYT_RUNTIME unsigned char* stack_of(int worker) {
    return stacks + (size_t)(worker + 1) * STACK_STRIDE;
}

#ifdef LAZYT_ASAN
static const void* host_stack;
static size_t host_stack_bytes;
#endif

LAZYT_RUNTIME void enter(int worker) {
#ifdef LAZYT_ASAN
    void* fake;
    __sanitizer_start_switch_fiber(&fake, stack_of(worker), STACK_BYTES);
#endif
    switch_context(scheduler, workers[worker]);
#ifdef LAZYT_ASAN
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

LAZYT_RUNTIME void leave(int worker) {
#ifdef LAZYT_ASAN
    void* fake;
    __sanitizer_start_switch_fiber(&fake, host_stack, host_stack_bytes);
#endif
    switch_context(workers[worker], scheduler);
#ifdef LAZYT_ASAN
    __sanitizer_finish_switch_fiber(fake, &host_stack, &host_stack_bytes);
#endif
}

// ---------------------------------------------------------------------------------------- faults

// Records the first fault and gives up the launch; from a thread it does not return. `thread` -1
// names no thread.
__attribute__((format(printf, 3, 4))) LAZYT_RUNTIME void fail(Fault kind, int thread,
                                                              const char* format, ...) {
    if (failure == NONE) {
        failure = kind;
        int at = snprintf(message, sizeof message, "kernel '%s', ", kernel->name);
        if (thread >= 0) {
            uint3 b = lazyt_block_storage, t = indices[thread];
            at +=
                snprintf(message + at, sizeof message - at,
                         "block (%u, %u, %u), thread (%u, %u, %u): ", b.x, b.y, b.z, t.x, t.y, t.z);
        }
        va_list rest;
        va_start(rest, format);
        vsnprintf(message + at, sizeof message - at, format, rest);
        va_end(rest);
    }
    if (current >= 0) leave(threads[current].worker);
}

struct Named {
    char text[64];
};
LAZYT_RUNTIME Named named(int thread) {
    Named n;
    uint3 t = indices[thread];
    snprintf(n.text, sizeof n.text, "thread (%u, %u, %u)", t.x, t.y, t.z);
    return n;
}

LAZYT_RUNTIME void check_stack(int thread) {
    uint64_t& canary = *(uint64_t*)stack_of(threads[thread].worker);
    if (canary == CANARY) return;
    canary = CANARY;
    fail(STACK, thread, "the thread needed more than %d bytes of stack", (int)STACK_BYTES);
}

#ifndef LAZYT_ASAN
// An access that no check was made for, or made too late, ends the launch and not the process.
static const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction previous[3];
static stack_t previous_stack;
static pthread_t launcher;

LAZYT_RUNTIME void on_signal(int number, siginfo_t* info, void*) {
    if (current < 0 || !pthread_equal(launcher, pthread_self())) {
        signal(number, SIG_DFL);  // not a kernel's: it is raised again where it was
        return;
    }
    check_stack(current);
    if (number == SIGFPE) fail(TRAP, current, "integer division by zero");
    fail(GLOBAL_BOUNDS, current, "access of memory at %p, which is not mapped", info->si_addr);
}

LAZYT_RUNTIME void catch_signals() {
    static char memory[32 << 10];
    stack_t stack = {};
    stack.ss_sp = memory, stack.ss_size = sizeof memory;
    sigaltstack(&stack, &previous_stack);
    launcher = pthread_self();
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    // The handler does not return from a kernel: the signal must not stay blocked.
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &action, &previous[i]);
}

LAZYT_RUNTIME void release_signals() {
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &previous[i], nullptr);
    sigaltstack(&previous_stack, nullptr);
}
#else
LAZYT_RUNTIME void catch_signals() {}
LAZYT_RUNTIME void release_signals() {}
#endif

LAZYT_RUNTIME const char* waits_at(int thread) {
    return threads[thread].state == AT_BARRIER ? "__syncthreads" : KIND[threads[thread].kind];
}

LAZYT_RUNTIME int first_in(State state) {
    for (int t = 0; t < size; t++)
        if (threads[t].state == state) return t;
    return -1;
}

// --------------------------------------------------------------------------------- shared memory

LAZYT_RUNTIME void* dynamic_shared() { return dynamic; }

// The array that a byte of the section, or the guard before or after it, is told by.
LAZYT_RUNTIME const Array* nearest(const unsigned char* address) {
    const Array* best = nullptr;
    size_t distance = SIZE_MAX;
    for (int i = 0; i < array_count; i++) {
        const Array& a = arrays[i];
        size_t d = address < a.start             ? a.start - address
                   : address < a.start + a.bytes ? 0
                                                 : address - (a.start + a.bytes) + 1;
        if (d < distance) best = &a, distance = d;
    }
    return best;
}

LAZYT_RUNTIME bool holds(const Array& a, const unsigned char* address, size_t bytes) {
    return address >= a.start && address + bytes <= a.start + a.bytes;
}

// The last of `count` arrays by address that starts at or before `address`, or null.
LAZYT_RUNTIME const Array* find(const Array* list, int count, const unsigned char* address) {
    int low = 0, high = count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (list[middle].start <= address) low = middle + 1;
        else high = middle;
    }
    return low ? &list[low - 1] : nullptr;
}

#ifndef LAZYT_ASAN
// A guard of the bytes [from, to): calls `visit` for each gap between arrays.
template <class Visit>
LAZYT_RUNTIME void for_each_gap(Visit visit) {
    unsigned char* at = section;
    for (int i = 0; i < array_count; i++) {
        visit(at, arrays[i].start);
        at = arrays[i].start + arrays[i].bytes;
    }
    visit(at, section_end);
    visit(arena, dynamic);
    visit(dynamic + dynamic_bytes, dynamic + dynamic_bytes + GUARD);
}

LAZYT_RUNTIME void check_guards(int thread) {
#ifndef LAZYT_CHECK
    for_each_gap([thread](unsigned char* from, unsigned char* to) LAZYT_UNCHECKED {
        for (unsigned char* p = from; p < to; p++) {
            if (*p == GUARD_BYTE) continue;
            const Array* a = p < section_end && p >= section ? nearest(p) : nullptr;
            const char* name = a ? a->name : "dynamic shared memory";
            unsigned char* start = a ? a->start : dynamic;
            size_t bytes = a ? a->bytes : dynamic_bytes;
            memset(from, GUARD_BYTE, to - from);
            fail(SHARED_BOUNDS, thread,
                 "by this point a thread of the block had written to byte %td of shared array "
                 "'%s', which has "
                 "%zu bytes",
                 p - start, name, bytes);
            return;
        }
    });
#else
    (void)thread;
#endif
}
#else
LAZYT_RUNTIME void check_guards(int) {}
#endif

LAZYT_RUNTIME void poison_shared() {
    int self = int(kernel - lazyt_kernels);
    for (int i = 0; i < array_count; i++)
        if (arrays[i].owner < 0 || arrays[i].owner == self)
            memset(arrays[i].start, POISON, arrays[i].bytes);
    memset(dynamic, POISON, dynamic_bytes);
}

// ---------------------------------------------------------------------------------------- checks

#ifdef LAZYT_CHECK
// An access: in which interval (they are counted over blocks and their barriers) and by whom.
struct Stamp {
    uint32_t interval;
    uint32_t thread : 10, atomic : 1, clock : 21;
};
// The last write and two concurrent reads of a byte or element.
struct Cell {
    Stamp write, read[2];
};
// What __syncwarp orders: seen[i][j] is the clock of lane j up to which its accesses came before
// what lane i does now. Valid in one interval.
struct Warp {
    uint32_t interval, clock[32], seen[32][32];
};

static uint32_t interval = 1, launch_start, block_start;
static Warp warps[MAX_THREADS / 32];
static Cell* shared_cells;  // one a byte: the section, then dynamic memory
static const lazyt_buffer* buffers;
static Cell** buffer_cells;
static int buffer_count, recent;
static bool fenced;

LAZYT_RUNTIME Stamp stamp_now(bool atomic) {
    Warp& w = warps[current / 32];
    return {interval, (uint32_t)current, atomic,
            w.interval == interval ? w.clock[current % 32] : 1};
}

// Whether nothing orders the access `s` and one by the current thread now. since: the first
// interval of the memory's life, the block's for shared memory and the launch's for buffers.
LAZYT_RUNTIME bool concurrent(Stamp s, uint32_t since) {
    if (s.interval < since) return false;
    // A kernel that fences is taken to order its blocks by a counter.
    if (s.interval < block_start) return !fenced;
    if (s.interval != interval || (int)s.thread == current) return false;
    if ((int)s.thread / 32 != current / 32) return true;
    const Warp& w = warps[current / 32];
    return w.interval != interval || w.seen[current % 32][s.thread % 32] < s.clock;
}

// The lanes of `mask` have met: what each did is before what any of them does next.
LAZYT_RUNTIME void meet(int base, unsigned mask) {
    Warp& w = warps[base / 32];
    if (w.interval != interval) {
        w.interval = interval;
        memset(w.seen, 0, sizeof w.seen);
        for (uint32_t& c : w.clock) c = 1;
    }
    uint32_t joined[32] = {0};
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            for (int j = 0; j < 32; j++)
                if (w.seen[lane][j] > joined[j]) joined[j] = w.seen[lane][j];
            if (w.clock[lane] > joined[lane]) joined[lane] = w.clock[lane];
        }
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) {
            memcpy(w.seen[lane], joined, sizeof joined);
            if (w.clock[lane] < (1u << 21) - 1) w.clock[lane]++;
        }
}

struct Where {
    const char *kind, *name;
    ptrdiff_t offset;
    size_t bytes;
    uint32_t since;
};

LAZYT_RUNTIME void report_race(Stamp other, bool wrote, bool write, bool atomic, size_t bytes,
                               Where at) {
    const char* what = atomic ? "atomic operation" : write ? "write" : "read";
    const char* earlier = other.atomic ? "an atomic operation" : wrote ? "a write" : "a read";
    if (other.interval < block_start)
        fail(RACE, current,
             "%s of %zu bytes at byte %td of %s '%s' races with %s by a thread of another block",
             what, bytes, at.offset, at.kind, at.name, earlier);
    else
        fail(RACE, current,
             "%s of %zu bytes at byte %td of %s '%s' races with %s by %s: no barrier orders them",
             what, bytes, at.offset, at.kind, at.name, earlier, named(other.thread).text);
}

LAZYT_RUNTIME void update_one(Cell& c, bool write, bool atomic, size_t bytes, const Where& at) {
    if (concurrent(c.write, at.since) && !(atomic && c.write.atomic))
        report_race(c.write, true, write, atomic, bytes, at);
    Stamp now = stamp_now(atomic);
    if (write) {
        for (Stamp r : c.read)
            if (concurrent(r, at.since)) report_race(r, false, write, atomic, bytes, at);
        c.write = now;
    } else if (!concurrent(c.read[0], at.since)) c.read[0] = now;
    else if (!concurrent(c.read[1], at.since)) c.read[1] = now;
}

LAZYT_RUNTIME void update(Cell* cells, size_t count, bool write, bool atomic, size_t bytes,
                          const Where& at) {
    Cell before = cells[0];
    update_one(cells[0], write, atomic, bytes, at);
    for (size_t i = 1; i < count; i++) {
        // The bytes of an element mostly share their history.
        if (!memcmp(&before, &cells[i], sizeof before)) cells[i] = cells[0];
        else update_one(cells[i], write, atomic, bytes, at);
    }
}

LAZYT_RUNTIME void check_shared(const unsigned char* p, size_t bytes, bool write, bool atomic) {
    Where at = {"shared array", "dynamic shared memory", p - dynamic, dynamic_bytes, block_start};
    Cell* cells = shared_cells + (section_end - section);
    bool inside = p >= dynamic && p + bytes <= dynamic + dynamic_bytes;
    const char* other = "";
    if (p >= section && p < section_end) {
        const Array* a = find(arrays, array_count, p);
        inside = a && holds(*a, p, bytes);
        if (!inside) a = nearest(p);
        if (inside && a->owner >= 0 && &lazyt_kernels[a->owner] != kernel)
            inside = false, other = " of another kernel";
        at = {"shared array", a->name, p - a->start, a->bytes, block_start};
        cells = shared_cells + (a->start - section);
    }
    const char* what = write ? "write" : "read";
    if (!inside)
        fail(SHARED_BOUNDS, current,
             "%s of %zu bytes at byte %td of shared array '%s'%s, which has %zu bytes", what, bytes,
             at.offset, at.name, other, at.bytes);
    cells += at.offset;
    for (size_t i = 0; i < bytes && (!write || atomic); i++)
        if (cells[i].write.interval < block_start)
            fail(UNINITIALISED, current,
                 "read of %zu bytes at byte %td of shared array '%s', which no thread of the "
                 "block has written yet",
                 bytes, at.offset, at.name);
    update(cells, bytes, write, atomic, bytes, at);
}

LAZYT_RUNTIME void check_buffer(int i, size_t offset, size_t bytes, bool write, bool atomic) {
    const lazyt_buffer& b = buffers[i];
    if (write && !b.writable)
        fail(GLOBAL_BOUNDS, current, "write of %zu bytes at byte %zu of '%s', which is read-only",
             bytes, offset, b.name);
    if (!buffer_cells[i]) return;
    size_t first = offset / b.granule, last = (offset + bytes - 1) / b.granule;
    update(buffer_cells[i] + first, last - first + 1, write, atomic, bytes,
           {"buffer", b.name, (ptrdiff_t)offset, b.bytes, launch_start});
}

LAZYT_RUNTIME bool inside(int i, uintptr_t address, size_t bytes) {
    size_t offset = address - (uintptr_t)buffers[i].start;
    return offset < buffers[i].bytes && bytes <= buffers[i].bytes - offset;
}

// The buffer that holds the access, or the one it is told by; -1 without any.
LAZYT_RUNTIME int closest_buffer(uintptr_t address, size_t bytes) {
    if (recent < buffer_count && inside(recent, address, bytes)) return recent;
    int low = 0, high = buffer_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if ((uintptr_t)buffers[middle].start <= address) low = middle + 1;
        else high = middle;
    }
    if (!low) return buffer_count ? 0 : -1;
    // Between two buffers, the closer one.
    uintptr_t end = (uintptr_t)buffers[low - 1].start + buffers[low - 1].bytes;
    if (low < buffer_count && address >= end &&
        (uintptr_t)buffers[low].start - address < address - end)
        return low;
    return low - 1;
}

LAZYT_RUNTIME void access(const void* pointer, size_t bytes, bool write, bool atomic, void* pc) {
    if (!running || current < 0 || failure != NONE) return;
    const unsigned char* p = (const unsigned char*)pointer;
    uintptr_t address = (uintptr_t)pointer;
    if (fault_pc != (uintptr_t)pc) fault_pc = (uintptr_t)pc;
    if ((p >= section && p < section_end) || (p >= arena && p < arena + sizeof arena))
        return check_shared(p, bytes, write, atomic);
    if (address - (uintptr_t)stack_of(threads[current].worker) < STACK_BYTES) return;
    if (buffer_count < 0) return;
    int closest = closest_buffer(address, bytes);
    if (closest >= 0 && inside(closest, address, bytes)) {
        recent = closest;
        return check_buffer(closest, address - (uintptr_t)buffers[closest].start, bytes, write,
                            atomic);
    }
    const Array* object = find(objects, object_count, p);
    if (object && holds(*object, p, bytes)) return;
    for (int i = 0; !write && i < constant_count; i++)
        if (address >= constant_start[i] && address + bytes <= constant_end[i]) return;
    const char* what = atomic ? "atomic operation" : write ? "write" : "read";
    if (closest < 0)
        fail(GLOBAL_BOUNDS, current, "%s of %zu bytes at %p, but no buffer was passed", what, bytes,
             pointer);
    const lazyt_buffer& b = buffers[closest];
    ptrdiff_t offset = (ptrdiff_t)(address - (uintptr_t)b.start);
    if (offset < -(1 << 20) || offset > (ptrdiff_t)b.bytes + (1 << 20))
        fail(GLOBAL_BOUNDS, current,
             "%s of %zu bytes at %p, far from every buffer passed (the nearest is '%s')", what,
             bytes, pointer, b.name);
    fail(GLOBAL_BOUNDS, current, "%s of %zu bytes at byte %td of '%s', which has %zu bytes", what,
         bytes, offset, b.name, b.bytes);
}

LAZYT_RUNTIME void next_interval() { interval++; }
LAZYT_RUNTIME void fence() { fenced = true; }
#else
LAZYT_RUNTIME void access(const void*, size_t, bool, bool, void*) {}
LAZYT_RUNTIME void meet(int, unsigned) {}
LAZYT_RUNTIME void next_interval() {}
LAZYT_RUNTIME void fence() {}
#endif

// ------------------------------------------------------------------------------------- scheduling

LAZYT_RUNTIME int ordered(int i) { return reverse ? size - 1 - i : i; }

// Gives up the thread until it is ready again.
LAZYT_RUNTIME void wait() {
    int self = current;
    leave(threads[self].worker);
}

LAZYT_RUNTIME void release_barrier() {
    for (int t = 1; t < size; t++)
        if (threads[t].line != threads[0].line)
            return fail(BARRIER, t,
                        "waits at the barrier of line %d while %s waits at the one of line %d",
                        threads[t].line, named(0).text, threads[0].line);
    check_guards(current);
    for (int t = 0; t < size; t++) threads[t].state = READY;
    barrier_result = barrier_count;
    barrier_count = waiting = 0;
    next_interval();
}

// The number of threads of the block whose predicate is true.
__attribute__((noinline)) LAZYT_RUNTIME int barrier(bool predicate, int line) {
    Thread& self = threads[current];
    self.line = line;
    if (done)
        fail(BARRIER, current, "waits at the barrier of line %d, but %s has exited", line,
             named(first_in(DONE)).text);
    self.state = AT_BARRIER;
    barrier_count += predicate;
    if (++waiting == size) release_barrier();
    wait();
    return barrier_result;
}

__attribute__((noinline)) LAZYT_RUNTIME bool barrier_and(bool predicate, int line) {
    return barrier(predicate, line) == size;
}

LAZYT_RUNTIME void run_collective(int base) {
    Collective* lanes[32];
    for (int lane = 0; lane < 32; lane++) {
        lanes[lane] = (Collective*)threads[base + lane].value;
        if (lanes[lane]->run != lanes[0]->run)
            return fail(WARP, base + lane,
                        "is at the matrix operation of line %d while %s is at the one of line %d",
                        threads[base + lane].line, named(base).text, threads[base].line);
    }
    lanes[0]->run(lanes);
}

// The lanes of `mask`, of the warp that starts at thread `base`, have all come: their results.
LAZYT_RUNTIME void complete(int base, unsigned mask, Kind kind) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++)
        if ((mask >> lane & 1) && kind >= BALLOT && threads[base + lane].value) votes |= 1u << lane;
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        Thread& t = threads[base + lane];
        int group = lane & ~((int)t.width - 1), last = lane | ((int)t.width - 1), from = lane;
        switch (kind) {
            case SHUFFLE: from = group | (t.source & ((int)t.width - 1)); break;
            case SHUFFLE_UP: from = lane - t.source < group ? lane : lane - t.source; break;
            case SHUFFLE_DOWN: from = lane + t.source > last ? lane : lane + t.source; break;
            case SHUFFLE_XOR: from = (lane ^ t.source) > last ? lane : lane ^ t.source; break;
            case BALLOT: t.result = votes; continue;
            case ANY: t.result = votes != 0; continue;
            case ALL: t.result = votes == mask; continue;
            case SYNC:
            case COLLECTIVE: continue;
        }
        if (!(mask >> from & 1))
            return fail(WARP, base + lane,
                        "%s of line %d reads lane %d, which mask 0x%08x does not name", KIND[kind],
                        t.line, from, mask);
        t.result = threads[base + from].value;
    }
    if (kind == SYNC) meet(base, mask);
    if (kind == COLLECTIVE) run_collective(base);
    warp_waiting -= __builtin_popcount(mask);
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) threads[base + lane].state = READY;
}

__attribute__((noinline)) LAZYT_RUNTIME uint64_t warp_operation(Kind kind, unsigned mask,
                                                                uint64_t value, int source,
                                                                int width, int line) {
    Thread& self = threads[current];
    int lane = current % 32, base = current - lane;
    self.line = line;
    if (!(mask >> lane & 1))
        fail(WARP, current, "calls %s of line %d with mask 0x%08x, which lacks its own lane %d",
             KIND[kind], line, mask, lane);
    if (width < 1 || width > 32 || (width & (width - 1)))
        fail(WARP, current, "calls %s of line %d with width %d, not a power of two up to 32",
             KIND[kind], line, width);
    unsigned present = size - base >= 32 ? ~0u : (1u << (size - base)) - 1;
    if (mask & ~present)
        fail(WARP, current,
             "calls %s of line %d with mask 0x%08x, which names lane %d; the block has %d threads",
             KIND[kind], line, mask, __builtin_ctz(mask & ~present), size);
    if (mask & exited[base / 32])
        fail(WARP, current,
             "calls %s of line %d with mask 0x%08x, which names lane %d, but %s has exited",
             KIND[kind], line, mask, __builtin_ctz(mask & exited[base / 32]),
             named(base + __builtin_ctz(mask & exited[base / 32])).text);
    self.value = value, self.source = source, self.width = width, self.mask = mask,
    self.kind = kind;
    self.state = AT_WARP;
    warp_waiting++;
    // From the lane that comes last, so that all but it find out at once that they are not.
    bool all = true;
    for (int i = 31; i >= 0 && all; i--) {
        int other = reverse ? 31 - i : i;
        const Thread& t = threads[base + other];
        if (mask >> other & 1) all = t.state == AT_WARP && t.kind == kind && t.mask == mask;
    }
    if (all) complete(base, mask, kind);
    wait();
    return self.result;
}

LAZYT_RUNTIME void finish(int thread) {
    check_stack(thread);
    threads[thread].state = DONE;
    exited[thread / 32] |= 1u << (thread % 32);
    done++;
    if (waiting) {
        int other = first_in(AT_BARRIER);
        fail(BARRIER, thread, "exited while %s waits at the barrier of line %d", named(other).text,
             threads[other].line);
    }
    for (int t = thread & ~31; warp_waiting && t < size && t < (thread & ~31) + 32; t++)
        if (threads[t].state == AT_WARP && (threads[t].mask >> (thread % 32) & 1))
            fail(WARP, thread,
                 "exited while %s waits for its lane %d at %s of line %d (mask 0x%08x)",
                 named(t).text, thread % 32, KIND[threads[t].kind], threads[t].line,
                 threads[t].mask);
}

LAZYT_RUNTIME void begin(int thread, int worker) {
    current = thread;
    lazyt_thread_storage = indices[thread];
    threads[thread].state = READY;
    threads[thread].worker = worker;
}

// Runs the thread it is entered with, then those not yet started, until it is idle.
LAZYT_RUNTIME void work() {
#ifdef LAZYT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &host_stack, &host_stack_bytes);
#endif
    for (;;) {
        int worker = threads[current].worker;
        kernel->invoke(params);
        finish(current);
        if (started < size) {
            begin(ordered(started++), worker);
            continue;
        }
        idle[idle_count++] = worker;
        leave(worker);
    }
}

LAZYT_RUNTIME void prepare(int worker) {
    unsigned char* stack = stack_of(worker);
    *(uint64_t*)stack = CANARY;
#ifdef LAZYT_UCONTEXT
    getcontext(&workers[worker]);
    workers[worker].uc_stack.ss_sp = stack;
    workers[worker].uc_stack.ss_size = STACK_BYTES;
    workers[worker].uc_link = nullptr;
    makecontext(&workers[worker], work, 0);
#else
    // lazyt_switch pops six registers and returns into work(), whose frame starts as after a call.
    void** top = (void**)(stack + STACK_BYTES);
    top[-2] = (void*)work;
    workers[worker].stack_pointer = top - 8;
#endif
}

LAZYT_RUNTIME void run(int worker) {
    enter(worker);
    current = -1;
}

LAZYT_RUNTIME void report_deadlock() {
    int blocked = first_in(AT_BARRIER), warp = first_in(AT_WARP);
    if (blocked >= 0)
        return fail(BARRIER, blocked,
                    "waits at the barrier of line %d while %s waits at %s of line %d (mask 0x%08x)",
                    threads[blocked].line, named(warp).text, waits_at(warp), threads[warp].line,
                    threads[warp].mask);
    const Thread& self = threads[warp];
    for (int t = warp & ~31; t < size && t < (warp & ~31) + 32; t++)
        if ((self.mask >> (t % 32) & 1) &&
            (threads[t].mask != self.mask || threads[t].kind != self.kind))
            return fail(WARP, warp,
                        "waits at %s of line %d (mask 0x%08x) while %s waits at %s of line %d "
                        "(mask 0x%08x)",
                        waits_at(warp), self.line, self.mask, named(t).text, waits_at(t),
                        threads[t].line, threads[t].mask);
    fail(WARP, warp, "waits at %s of line %d for ever", waits_at(warp), self.line);
}

LAZYT_RUNTIME void run_block() {
    started = done = waiting = warp_waiting = barrier_count = 0;
    for (int t = 0; t < size; t++) threads[t].state = UNSTARTED;
    memset(exited, 0, sizeof exited);
    poison_shared();
    next_interval();
#ifdef LAZYT_CHECK
    block_start = interval;
#endif
    while (started < size && failure == NONE) {
        int worker = idle[--idle_count];
        begin(ordered(started++), worker);
        run(worker);
    }
    while (done < size && failure == NONE) {
        bool progress = false;
        for (int i = 0; i < size && failure == NONE; i++) {
            int t = ordered(i);
            if (threads[t].state != READY) continue;
            progress = true;
            current = t;
            lazyt_thread_storage = indices[t];
            run(threads[t].worker);
        }
        if (!progress) report_deadlock();
    }
    if (failure == NONE) check_guards(ordered(size - 1));
}

LAZYT_RUNTIME void run_grid(const unsigned* dims) {
    static uint3 laid_out;
    lazyt_grid_storage = dim3(dims[0], dims[1], dims[2]);
    lazyt_size_storage = dim3(dims[3], dims[4], dims[5]);
    if (laid_out.x != dims[3] || laid_out.y != dims[4] || laid_out.z != dims[5]) {
        laid_out = {dims[3], dims[4], dims[5]};
        for (unsigned t = 0; t < (unsigned)size; t++)
            indices[t] = {t % dims[3], t / dims[3] % dims[4], t / dims[3] / dims[4]};
    }
    for (unsigned z = 0; z < dims[2]; z++)
        for (unsigned y = 0; y < dims[1]; y++)
            for (unsigned x = 0; x < dims[0]; x++) {
                lazyt_block_storage = {x, y, z};
                run_block();
                if (failure != NONE) return;
            }
}

// What a launch may not ask for on any device, or with this kernel's bounds; null if it may.
LAZYT_RUNTIME bool valid(const unsigned* dims, size_t shared) {
    uint64_t block = 1;
    for (int i = 0; i < 6; i++)
        if (!dims[i])
            return fail(LAUNCH, -1, "grid and block must be positive in all dimensions"), false;
    for (int i = 3; i < 6; i++) block *= dims[i];
    if (block > (uint64_t)kernel->max_threads || dims[5] > 64)
        return fail(LAUNCH, -1, "a block of (%u, %u, %u) threads is over the limit of %d", dims[3],
                    dims[4], dims[5], kernel->max_threads),
               false;
    if (dims[0] > 2147483647u || dims[1] > 65535 || dims[2] > 65535)
        return fail(LAUNCH, -1, "a grid of (%u, %u, %u) blocks is over the limit", dims[0], dims[1],
                    dims[2]),
               false;
    if (shared > SHARED_LIMIT || shared + kernel->static_shared > SHARED_LIMIT)
        return fail(LAUNCH, -1,
                    "%zu bytes of shared memory (%zu of them static) are over the limit of %d",
                    shared + kernel->static_shared, kernel->static_shared, (int)SHARED_LIMIT),
               false;
    return true;
}

LAZYT_RUNTIME bool set_up(size_t shared, const lazyt_buffer* passed, int count) {
    if (!stacks) {
        void* memory =
            mmap(nullptr, (size_t)(MAX_THREADS + 1) * STACK_STRIDE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            return fail(LAUNCH, -1, "no memory for the stacks of the threads"), false;
        stacks = (unsigned char*)memory;
        idle_count = 0;
    }
    // After a fault the workers are where the threads were: all of them begin anew.
    if (idle_count != MAX_THREADS) {
#ifdef LAZYT_ASAN
        __asan_unpoison_memory_region(stacks, (size_t)(MAX_THREADS + 1) * STACK_STRIDE);
#endif
        for (idle_count = 0; idle_count < MAX_THREADS; idle_count++) idle[idle_count] = -1;
    }
    for (int i = 0; i < size; i++) {
        int& worker = idle[MAX_THREADS - 1 - i];
        if (worker < 0) prepare(worker = i);
    }
    dynamic_bytes = shared;
#ifdef LAZYT_ASAN
    __asan_poison_memory_region(arena, sizeof arena);
    __asan_unpoison_memory_region(dynamic, shared);
#else
    for_each_gap([](unsigned char* from, unsigned char* to)
                     LAZYT_UNCHECKED { memset(from, GUARD_BYTE, to - from); });
#endif
#ifdef LAZYT_CHECK
    size_t cells = (size_t)(section_end - section) + SHARED_LIMIT;
    if (!shared_cells) shared_cells = (Cell*)calloc(cells, sizeof(Cell));
    if (interval > 3u << 30) {
        memset((void*)shared_cells, 0, cells * sizeof(Cell));
        memset(warps, 0, sizeof warps);
        interval = 1;
    }
    launch_start = interval + 1;
    buffers = passed, buffer_count = count, recent = 0, fenced = false;
    buffer_cells = count > 0 ? (Cell**)calloc(count, sizeof(Cell*)) : nullptr;
    for (int i = 0; i < count; i++)
        if (passed[i].granule)
            buffer_cells[i] = (Cell*)calloc(passed[i].bytes / passed[i].granule + 1, sizeof(Cell));
#else
    (void)passed, (void)count;
#endif
    return true;
}

LAZYT_RUNTIME void tear_down() {
#ifdef LAZYT_CHECK
    for (int i = 0; i < buffer_count; i++) free(buffer_cells[i]);
    free(buffer_cells);
    buffer_cells = nullptr, buffer_count = 0;
#endif
    if (failure != NONE) idle_count = 0;
}

// ------------------------------------------------------------------------------- the symbol table

LAZYT_RUNTIME int by_address(const void* a, const void* b) {
    uintptr_t x = (uintptr_t)((const Array*)a)->start, y = (uintptr_t)((const Array*)b)->start;
    return x < y ? -1 : x > y;
}

// The kernel that declares `reduce::partial`; -1 if no kernel does.
LAZYT_RUNTIME int owner_of(const char* name) {
    for (int k = 0; k < lazyt_kernel_total; k++) {
        size_t n = strlen(lazyt_kernels[k].name);
        if (!strncmp(name, lazyt_kernels[k].name, n) &&
            (!strncmp(name + n, "::", 2) || name[n] == '('))
            return k;
    }
    return -1;
}

LAZYT_RUNTIME void read_symbols(const unsigned char* file) {
    const Elf64_Ehdr* header = (const Elf64_Ehdr*)file;
    const Elf64_Phdr* segments = (const Elf64_Phdr*)(file + header->e_phoff);
    for (int i = 0; i < header->e_phnum && constant_count < 16; i++)
        if (segments[i].p_type == PT_LOAD && !(segments[i].p_flags & PF_W)) {
            constant_start[constant_count] = image + segments[i].p_vaddr;
            constant_end[constant_count++] = image + segments[i].p_vaddr + segments[i].p_memsz;
        }
    const Elf64_Shdr* sections = (const Elf64_Shdr*)(file + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        const Elf64_Sym* symbols = (const Elf64_Sym*)(file + sections[i].sh_offset);
        const char* names = (const char*)file + sections[sections[i].sh_link].sh_offset;
        size_t count = sections[i].sh_size / sizeof(Elf64_Sym);
        arrays = (Array*)calloc(count, sizeof(Array));
        objects = (Array*)calloc(count, sizeof(Array));
        for (size_t s = 0; s < count; s++) {
            const char* name = names + symbols[s].st_name;
            if (ELF64_ST_TYPE(symbols[s].st_info) != STT_OBJECT || !symbols[s].st_size) continue;
            if (strstr(name, "lazyt_guard_") || strstr(name, "lazyt_host")) continue;
            int status;
            char* readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
            Array a = {(unsigned char*)image + symbols[s].st_value, symbols[s].st_size,
                       readable ? readable : strdup(name), -1};
            if (a.start < section || a.start >= section_end) {
                objects[object_count++] = a;
                continue;
            }
            a.owner = owner_of(a.name);
            if (a.owner >= 0) a.name = strrchr(a.name, ':') ? strrchr(a.name, ':') + 1 : a.name;
            arrays[array_count++] = a;
        }
    }
    qsort(arrays, array_count, sizeof(Array), by_address);
    qsort(objects, object_count, sizeof(Array), by_address);
}

__attribute__((constructor)) LAZYT_RUNTIME void load() {
    section = __start_lazyt_shared, section_end = __stop_lazyt_shared;
    Dl_info info;
    if (!dladdr((void*)load, &info)) return;
    image = (uintptr_t)info.dli_fbase;
    int file = open(info.dli_fname, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0) return;
    if (!fstat(file, &status)) {
        void* bytes = mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes != MAP_FAILED) {
            read_symbols((const unsigned char*)bytes);
            munmap(bytes, status.st_size);
        }
    }
    close(file);
    for (int i = 0; i < array_count; i++)
        for (int k = 0; k < lazyt_kernel_total; k++)
            if (arrays[i].owner == k || arrays[i].owner < 0)
                lazyt_kernels[k].static_shared += arrays[i].bytes;
#ifdef LAZYT_ASAN
    __asan_poison_memory_region(section, section_end - section);
    for (int i = 0; i < array_count; i++)
        __asan_unpoison_memory_region(arrays[i].start, arrays[i].bytes);
#endif
}

// ------------------------------------------------------------------------------ describing kernels

template <int E, int M>
struct Float16;

template <class T>
constexpr char kind_of() {
    if (std::is_pointer<T>::value) return 'p';
    if (std::is_same<T, bool>::value) return 'b';
    if (std::is_same<T, Float16<5, 10>>::value || std::is_floating_point<T>::value) return 'f';
    if (std::is_same<T, Float16<8, 7>>::value) return 'g';
    if (std::is_integral<T>::value || std::is_enum<T>::value)
        return std::is_signed<T>::value ? 'i' : 'u';
    return 's';
}

template <class T>
struct Pointee {
    static constexpr unsigned size = sizeof(T);
};
template <>
struct Pointee<void> {
    static constexpr unsigned size = 0;
};

template <class T>
constexpr lazyt_param describe() {
    using P = std::remove_pointer_t<T>;
    using U = std::remove_cv_t<P>;
    return {kind_of<T>(),
            std::is_pointer<T>::value ? kind_of<U>() : '\0',
            (unsigned char)(std::is_pointer<T>::value && std::is_const<P>::value),
            sizeof(T),
            alignof(T),
            std::is_pointer<T>::value ? Pointee<U>::size : 0};
}

template <class F>
struct Signature;
template <class... A>
struct Signature<void (*)(A...)> {
    static constexpr int count = sizeof...(A);
    static constexpr lazyt_param params[sizeof...(A) + 1] = {describe<A>()...};
    template <void (*kernel)(A...), size_t... I>
    LAZYT_UNCHECKED static void call(void** p, std::index_sequence<I...>) {
        kernel(*(A*)p[I]...);
    }
    template <void (*kernel)(A...)>
    LAZYT_UNCHECKED static void invoke(void** p) {
        call<kernel>(p, std::index_sequence_for<A...>());
    }
};

// ------------------------------------------------------------------- what kernels call, out of
// line

template <class T>
LAZYT_RUNTIME T shuffle(Kind kind, unsigned mask, T value, int source, int width, int line) {
    static_assert(sizeof(T) <= 8, "shuffles move at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = warp_operation(kind, mask, bits, source, width, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Out of line, so that it returns to the kernel's line.
__attribute__((noinline)) LAZYT_RUNTIME void check_atomic(const void* address, size_t bytes) {
    access(address, bytes, true, true, __builtin_return_address(0));
}

// The old value; `change` gives the new one. One thread runs at a time, so nothing more is needed.
template <class T, class Change>
LAZYT_INLINE T atomic(T* address, Change change) {
    check_atomic(address, sizeof(T));
    struct Step {
        LAZYT_UNCHECKED __attribute__((noinline)) static T apply(T* address, Change change) {
            T old = *address;
            *address = change(old);
            return old;
        }
    };
    return Step::apply(address, change);
}

}  // namespace lazyt_host

#define LAZYT_KERNEL(name, threads)                                        \
    {                                                                      \
#name, lazyt_host::Signature < decltype(&name)> ::invoke < &name>, \
            lazyt_host::Signature < decltype(&name)> ::count,              \
            lazyt_host::Signature < decltype(&name)> ::params, threads, 0  \
    }

LAZYT_EXPORT int lazyt_kernel_count() { return lazyt_kernel_total; }
LAZYT_EXPORT const lazyt_kernel* lazyt_kernel_at(int i) { return &lazyt_kernels[i]; }

// dims: grid x, y, z, block x, y, z. shared: bytes of dynamic shared memory. params: where each
// argument is. count: how many buffers kernels may touch, -1 if that is not known. Returns a Fault.
LAZYT_EXPORT int lazyt_launch(const lazyt_kernel* kernel, const unsigned* dims, size_t shared,
                              void** params, const lazyt_buffer* buffers, int count, int reverse) {
    using namespace lazyt_host;
    pthread_mutex_lock(&lazyt_host::mutex);
    lazyt_host::kernel = kernel, lazyt_host::params = params, lazyt_host::reverse = reverse;
    failure = NONE, current = -1, fault_pc = 0;
    if (valid(dims, shared)) {
        size = (int)(dims[3] * dims[4] * dims[5]);
        if (set_up(shared, buffers, count)) {
            running = true;
            catch_signals();
            run_grid(dims);
            release_signals();
            running = false;
        }
        tear_down();
    }
    fflush(stdout);
    int result = failure;
    pthread_mutex_unlock(&lazyt_host::mutex);
    return result;
}

// The message of the last launch's fault.
LAZYT_EXPORT const char* lazyt_fault() { return lazyt_host::message; }

// Where in the image the access was that the fault is about; 0 if it is not about an access.
LAZYT_EXPORT uintptr_t lazyt_fault_offset() {
    using namespace lazyt_host;
    bool memory = failure == SHARED_BOUNDS || failure == UNINITIALISED ||
                  failure == GLOBAL_BOUNDS || failure == RACE;
    return memory && fault_pc ? fault_pc - image - 1 : 0;
}

#define LAZYT_HIDDEN extern "C" LAZYT_UNCHECKED __attribute__((visibility("hidden"), used))

// What assert() of the C library calls.
LAZYT_HIDDEN void __assert_fail(const char* expression, const char*, unsigned line,
                                const char*) noexcept {
    lazyt_host::fail(lazyt_host::ASSERTION, lazyt_host::current, "assertion failed at line %u: %s",
                     line, expression);
    abort();
}

#ifdef LAZYT_CHECK
#define LAZYT_ACCESS(name, bytes, write)                                         \
    LAZYT_HIDDEN void __tsan_##name(void* p) {                                   \
        lazyt_host::access(p, bytes, write, false, __builtin_return_address(0)); \
    }
#define LAZYT_ACCESSES(prefix, bytes)               \
    LAZYT_ACCESS(prefix##read##bytes, bytes, false) \
    LAZYT_ACCESS(prefix##write##bytes, bytes, true)
LAZYT_ACCESSES(, 1)
LAZYT_ACCESSES(, 2)
LAZYT_ACCESSES(, 4)
LAZYT_ACCESSES(, 8)
LAZYT_ACCESSES(, 16)
LAZYT_ACCESSES(unaligned_, 2)
LAZYT_ACCESSES(unaligned_, 4)
LAZYT_ACCESSES(unaligned_, 8)
LAZYT_ACCESSES(unaligned_, 16)
#undef LAZYT_ACCESSES
#undef LAZYT_ACCESS
LAZYT_HIDDEN void __tsan_read_range(void* p, size_t bytes) {
    lazyt_host::access(p, bytes, false, false, __builtin_return_address(0));
}
LAZYT_HIDDEN void __tsan_write_range(void* p, size_t bytes) {
    lazyt_host::access(p, bytes, true, false, __builtin_return_address(0));
}
LAZYT_HIDDEN void __tsan_init() {}
LAZYT_HIDDEN void __tsan_func_entry(void*) {}
LAZYT_HIDDEN void __tsan_func_exit() {}
#endif

// --------------------------------------------------------------- barriers, shuffles, votes,
// atomics

#define LAZYT_DEVICE LAZYT_INLINE
#define LAZYT_LINE int line = __builtin_LINE()

LAZYT_DEVICE void __syncthreads(LAZYT_LINE) { lazyt_host::barrier(false, line); }
LAZYT_DEVICE int __syncthreads_count(int p, LAZYT_LINE) {
    return lazyt_host::barrier(p != 0, line);
}
LAZYT_DEVICE int __syncthreads_or(int p, LAZYT_LINE) {
    return lazyt_host::barrier(p != 0, line) > 0;
}
LAZYT_DEVICE int __syncthreads_and(int p, LAZYT_LINE) {
    return lazyt_host::barrier_and(p != 0, line);
}
LAZYT_DEVICE void __syncwarp(unsigned mask = 0xffffffffu, LAZYT_LINE) {
    lazyt_host::warp_operation(lazyt_host::SYNC, mask, 0, 0, 32, line);
}
template <class T>
LAZYT_DEVICE T __shfl_sync(unsigned mask, T v, int lane, int width = 32, LAZYT_LINE) {
    return lazyt_host::shuffle(lazyt_host::SHUFFLE, mask, v, lane, width, line);
}
template <class T>
LAZYT_DEVICE T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, LAZYT_LINE) {
    return lazyt_host::shuffle(lazyt_host::SHUFFLE_UP, mask, v, (int)delta, width, line);
}
template <class T>
LAZYT_DEVICE T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, LAZYT_LINE) {
    return lazyt_host::shuffle(lazyt_host::SHUFFLE_DOWN, mask, v, (int)delta, width, line);
}
template <class T>
LAZYT_DEVICE T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, LAZYT_LINE) {
    return lazyt_host::shuffle(lazyt_host::SHUFFLE_XOR, mask, v, bits, width, line);
}
LAZYT_DEVICE unsigned __ballot_sync(unsigned mask, int p, LAZYT_LINE) {
    return (unsigned)lazyt_host::warp_operation(lazyt_host::BALLOT, mask, p != 0, 0, 32, line);
}
LAZYT_DEVICE int __any_sync(unsigned mask, int p, LAZYT_LINE) {
    return (int)lazyt_host::warp_operation(lazyt_host::ANY, mask, p != 0, 0, 32, line);
}
LAZYT_DEVICE int __all_sync(unsigned mask, int p, LAZYT_LINE) {
    return (int)lazyt_host::warp_operation(lazyt_host::ALL, mask, p != 0, 0, 32, line);
}
// The lanes that have not exited: more than a GPU may say in divergent code, never fewer.
LAZYT_RUNTIME unsigned __activemask() {
    using namespace lazyt_host;
    int base = current & ~31;
    return (size - base >= 32 ? ~0u : (1u << (size - base)) - 1) & ~exited[base / 32];
}
LAZYT_RUNTIME void __threadfence() { lazyt_host::fence(); }
LAZYT_RUNTIME void __threadfence_system() { lazyt_host::fence(); }
LAZYT_DEVICE void __threadfence_block() {}
LAZYT_DEVICE void __nanosleep(unsigned) {}
LAZYT_RUNTIME void __trap() {
    lazyt_host::fail(lazyt_host::TRAP, lazyt_host::current, "__trap() was called");
}
LAZYT_RUNTIME long long clock64() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

#define LAZYT_ATOMIC(name, T, expression)                                                  \
    LAZYT_DEVICE T name(T* address, T v) {                                                 \
        return lazyt_host::atomic(address,                                                 \
                                  [v](T old) LAZYT_UNCHECKED -> T { return expression; }); \
    }
#define LAZYT_ATOMIC_INTEGER(T)                                                             \
    LAZYT_ATOMIC(atomicAdd, T, old + v)                                                     \
    LAZYT_ATOMIC(atomicMax, T, old < v ? v : old)                                           \
    LAZYT_ATOMIC(atomicMin, T, v < old ? v : old)                                           \
    LAZYT_ATOMIC(atomicExch, T, v)                                                          \
    LAZYT_ATOMIC(atomicAnd, T, old& v)                                                      \
    LAZYT_ATOMIC(atomicOr, T, old | v)                                                      \
    LAZYT_ATOMIC(atomicXor, T, old ^ v)                                                     \
    LAZYT_DEVICE T atomicCAS(T* address, T compare, T v) {                                  \
        return lazyt_host::atomic(                                                          \
            address, [=](T old) LAZYT_UNCHECKED -> T { return old == compare ? v : old; }); \
    }
LAZYT_ATOMIC_INTEGER(int)
LAZYT_ATOMIC_INTEGER(unsigned)
LAZYT_ATOMIC_INTEGER(unsigned long long)
LAZYT_ATOMIC(atomicSub, int, old - v)
LAZYT_ATOMIC(atomicSub, unsigned, old - v)
LAZYT_ATOMIC(atomicMax, long long, old < v ? v : old)
LAZYT_ATOMIC(atomicMin, long long, v < old ? v : old)
LAZYT_ATOMIC(atomicInc, unsigned, old >= v ? 0 : old + 1)
LAZYT_ATOMIC(atomicDec, unsigned, old == 0 || old > v ? v : old - 1)
LAZYT_ATOMIC(atomicAdd, float, old + v)
LAZYT_ATOMIC(atomicAdd, double, old + v)
LAZYT_ATOMIC(atomicExch, float, v)

// ------------------------------------------------------------------------------ integers and bits

#define LAZYT_EXTREMA(T, A, B)                                         \
    LAZYT_DEVICE T min(A a, B b) { return (T)b < (T)a ? (T)b : (T)a; } \
    LAZYT_DEVICE T max(A a, B b) { return (T)a < (T)b ? (T)b : (T)a; }
LAZYT_EXTREMA(int, int, int)
LAZYT_EXTREMA(unsigned, unsigned, unsigned)
LAZYT_EXTREMA(unsigned, int, unsigned)
LAZYT_EXTREMA(unsigned, unsigned, int)
LAZYT_EXTREMA(long, long, long)
LAZYT_EXTREMA(unsigned long, unsigned long, unsigned long)
LAZYT_EXTREMA(unsigned long, long, unsigned long)
LAZYT_EXTREMA(unsigned long, unsigned long, long)
LAZYT_EXTREMA(long long, long long, long long)
LAZYT_EXTREMA(unsigned long long, unsigned long long, unsigned long long)
LAZYT_EXTREMA(unsigned long long, long long, unsigned long long)
LAZYT_EXTREMA(unsigned long long, unsigned long long, long long)
#undef LAZYT_EXTREMA
// Of floats as fminf and fmaxf: a NaN loses.
LAZYT_DEVICE float min(float a, float b) { return fminf(a, b); }
LAZYT_DEVICE float max(float a, float b) { return fmaxf(a, b); }
LAZYT_DEVICE double min(double a, double b) { return fmin(a, b); }
LAZYT_DEVICE double max(double a, double b) { return fmax(a, b); }
LAZYT_DEVICE double min(float a, double b) { return fmin(a, b); }
LAZYT_DEVICE double max(float a, double b) { return fmax(a, b); }
LAZYT_DEVICE double min(double a, float b) { return fmin(a, b); }
LAZYT_DEVICE double max(double a, float b) { return fmax(a, b); }

LAZYT_DEVICE unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}
LAZYT_DEVICE int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
LAZYT_DEVICE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
LAZYT_DEVICE int __mul24(int a, int b) {
    return (int)((unsigned)(a << 8 >> 8) * (unsigned)(b << 8 >> 8));
}
LAZYT_DEVICE int __popc(unsigned v) { return __builtin_popcount(v); }
LAZYT_DEVICE int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
LAZYT_DEVICE int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
LAZYT_DEVICE int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
LAZYT_DEVICE int __ffs(int v) { return __builtin_ffs(v); }
LAZYT_DEVICE int __ffsll(long long v) { return __builtin_ffsll(v); }
LAZYT_DEVICE unsigned __brev(unsigned v) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (v >> i & 1) << (31 - i);
    return r;
}
LAZYT_DEVICE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned n) {
    return (unsigned)((((unsigned long long)high << 32 | low) << (n & 31)) >> 32);
}
LAZYT_DEVICE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned n) {
    return (unsigned)(((unsigned long long)high << 32 | low) >> (n & 31));
}

namespace lazyt_host {
template <class To, class From>
LAZYT_INLINE To bit_cast(From v) {
    static_assert(sizeof(To) == sizeof(From), "a cast of bits keeps their number");
    To r;
    memcpy(&r, &v, sizeof r);
    return r;
}
}  // namespace lazyt_host
LAZYT_DEVICE int __float_as_int(float v) { return lazyt_host::bit_cast<int>(v); }
LAZYT_DEVICE unsigned __float_as_uint(float v) { return lazyt_host::bit_cast<unsigned>(v); }
LAZYT_DEVICE float __int_as_float(int v) { return lazyt_host::bit_cast<float>(v); }
LAZYT_DEVICE float __uint_as_float(unsigned v) { return lazyt_host::bit_cast<float>(v); }
LAZYT_DEVICE long long __double_as_longlong(double v) { return lazyt_host::bit_cast<long long>(v); }
LAZYT_DEVICE double __longlong_as_double(long long v) { return lazyt_host::bit_cast<double>(v); }

// Loads and stores with a hint for the caches.
#define LAZYT_LOAD(name)              \
    template <class T>                \
    LAZYT_DEVICE T name(const T* p) { \
        return *p;                    \
    }
#define LAZYT_STORE(name)               \
    template <class T>                  \
    LAZYT_DEVICE void name(T* p, T v) { \
        *p = v;                         \
    }
LAZYT_LOAD(__ldg)
LAZYT_LOAD(__ldca)
LAZYT_LOAD(__ldcg)
LAZYT_LOAD(__ldcs)
LAZYT_LOAD(__ldcv)
LAZYT_LOAD(__ldlu)
LAZYT_STORE(__stcg)
LAZYT_STORE(__stcs)
LAZYT_STORE(__stwb)
LAZYT_STORE(__stwt)

// ------------------------------------------------------------------------------------------- math

// The C library has the rest: expf, erff, fmaf, sincosf, ...; these it lacks, or may have some day.
#define rsqrtf lazyt_rsqrtf
#define rsqrt lazyt_rsqrt
#define rcbrtf lazyt_rcbrtf
#define sinpif lazyt_sinpif
#define cospif lazyt_cospif
#define normcdff lazyt_normcdff
#define erfinvf lazyt_erfinvf
#define erfinv lazyt_erfinv
LAZYT_DEVICE float rsqrtf(float v) { return (float)(1.0 / ::sqrt((double)v)); }
LAZYT_DEVICE double rsqrt(double v) { return 1.0 / ::sqrt(v); }
LAZYT_DEVICE float rsqrt(float v) { return rsqrtf(v); }
LAZYT_DEVICE float rcbrtf(float v) { return (float)(1.0 / ::cbrt((double)v)); }
LAZYT_DEVICE float sinpif(float v) { return (float)::sin(M_PI * ::fmod((double)v, 2.0)); }
LAZYT_DEVICE float cospif(float v) { return (float)::cos(M_PI * ::fmod((double)v, 2.0)); }
LAZYT_DEVICE float normcdff(float v) { return (float)(0.5 * ::erfc(-(double)v * M_SQRT1_2)); }
// Winitzki's approximation, then Newton's method on erf; with erfc where erf is close to 1.
inline double erfinv(double v) {
    if (!(::fabs(v) < 1)) return ::fabs(v) == 1 ? v * INFINITY : NAN;
    double l = ::log1p(-v * v), t = 2 / (M_PI * 0.147) + l / 2;
    double x = ::sqrt(::sqrt(t * t - l / 0.147) - t), a = ::fabs(v);
    for (int i = 0; i < 4; i++)
        x -= (a < 0.5 ? ::erf(x) - a : (1 - a) - ::erfc(x)) * ::exp(x * x) * ::sqrt(M_PI) / 2;
    return ::copysign(x, v);
}
LAZYT_DEVICE float erfinvf(float v) { return (float)erfinv((double)v); }

LAZYT_DEVICE float __expf(float v) { return expf(v); }
LAZYT_DEVICE float __exp10f(float v) { return exp10f(v); }
LAZYT_DEVICE float __logf(float v) { return logf(v); }
LAZYT_DEVICE float __log2f(float v) { return log2f(v); }
LAZYT_DEVICE float __log10f(float v) { return log10f(v); }
LAZYT_DEVICE float __sinf(float v) { return sinf(v); }
LAZYT_DEVICE float __cosf(float v) { return cosf(v); }
LAZYT_DEVICE float __tanf(float v) { return tanf(v); }
LAZYT_DEVICE float __powf(float a, float b) { return powf(a, b); }
LAZYT_DEVICE void __sincosf(float v, float* s, float* c) { sincosf(v, s, c); }
LAZYT_DEVICE float fdividef(float a, float b) { return a / b; }
LAZYT_DEVICE float __fdividef(float a, float b) { return a / b; }
LAZYT_DEVICE float __saturatef(float v) { return fminf(fmaxf(v, 0.0f), 1.0f); }
LAZYT_DEVICE float __fadd_rn(float a, float b) { return a + b; }
LAZYT_DEVICE float __fsub_rn(float a, float b) { return a - b; }
LAZYT_DEVICE float __fmul_rn(float a, float b) { return a * b; }
LAZYT_DEVICE float __fdiv_rn(float a, float b) { return a / b; }
LAZYT_DEVICE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
LAZYT_DEVICE float __frcp_rn(float v) { return 1.0f / v; }
LAZYT_DEVICE float __fsqrt_rn(float v) { return sqrtf(v); }
LAZYT_DEVICE float __frsqrt_rn(float v) { return rsqrtf(v); }
LAZYT_DEVICE double __dadd_rn(double a, double b) { return a + b; }
LAZYT_DEVICE double __dmul_rn(double a, double b) { return a * b; }
LAZYT_DEVICE double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

LAZYT_DEVICE int __float2int_rn(float v) { return (int)rintf(v); }
LAZYT_DEVICE int __float2int_rz(float v) { return (int)v; }
LAZYT_DEVICE int __float2int_rd(float v) { return (int)floorf(v); }
LAZYT_DEVICE int __float2int_ru(float v) { return (int)ceilf(v); }
LAZYT_DEVICE unsigned __float2uint_rn(float v) { return (unsigned)rintf(v); }
LAZYT_DEVICE unsigned __float2uint_rz(float v) { return (unsigned)v; }
LAZYT_DEVICE long long __float2ll_rn(float v) { return (long long)rintf(v); }
LAZYT_DEVICE long long __float2ll_rz(float v) { return (long long)v; }
LAZYT_DEVICE float __int2float_rn(int v) { return (float)v; }
LAZYT_DEVICE float __uint2float_rn(unsigned v) { return (float)v; }
LAZYT_DEVICE float __ll2float_rn(long long v) { return (float)v; }
LAZYT_DEVICE float __double2float_rn(double v) { return (float)v; }
LAZYT_DEVICE int __double2int_rn(double v) { return (int)rint(v); }
LAZYT_DEVICE int __double2int_rz(double v) { return (int)v; }

#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
#define CUDART_PI_F 3.141592654f
#define CUDART_INF __longlong_as_double(0x7ff0000000000000ULL)
#define CUDART_NAN __longlong_as_double(0xfff8000000000000ULL)
#define CUDART_PI 3.1415926535897931e+0

// -------------------------------------------------------------------------------- half and
// bfloat16

namespace lazyt_host {

// A 16-bit float with E bits of exponent and M of mantissa: half is (5, 10), bfloat16 (8, 7).
//
// Sums, products, quotients and roots of two such numbers are computed in float and rounded again,
// which is exact to nearest even: 24 bits are at least 2 * (M + 1) + 2 (Figueroa 1995).
template <int E, int M>
struct Float16 {
    unsigned short bits;

    Float16() = default;
    LAZYT_INLINE Float16(float v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(double v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(int v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(unsigned v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(short v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(unsigned short v) : bits(encode(v)) {}
    LAZYT_INLINE Float16(long long v) : bits(encode((double)v)) {}
    LAZYT_INLINE Float16(unsigned long long v) : bits(encode((double)v)) {}
    LAZYT_INLINE operator float() const { return decode(bits); }

    LAZYT_INLINE static Float16 from_bits(unsigned short bits) {
        Float16 r;
        r.bits = bits;
        return r;
    }

    // To nearest, ties to even; a NaN becomes 0x7fff as in the GPU's conversion.
    LAZYT_UNCHECKED static unsigned short encode(double v) {
        constexpr int bias = (1 << (E - 1)) - 1;
        constexpr unsigned infinity = ((1u << E) - 1) << M;
        uint64_t b;
        memcpy(&b, &v, sizeof b);
        unsigned sign = (unsigned)(b >> 63) << 15;
        int exponent = (int)(b >> 52 & 0x7ff) - 1023;
        if (exponent == 1024) return b << 12 ? 0x7fff : (unsigned short)(sign | infinity);
        uint64_t mantissa = (b & 0xfffffffffffffULL) | 1ULL << 52;
        int shift = 52 - M, least = 1 - bias;
        if (exponent < least) shift += least - exponent, exponent = least;
        if (exponent == -1023 || shift > 54) return (unsigned short)sign;
        uint64_t kept = mantissa >> shift, rest = mantissa & ((1ULL << shift) - 1),
                 tie = 1ULL << (shift - 1);
        kept += rest > tie || (rest == tie && (kept & 1));
        if (exponent > bias) return (unsigned short)(sign | infinity);
        uint64_t r = ((uint64_t)(exponent + bias - 1) << M) + kept;
        return (unsigned short)(sign | (r > infinity ? infinity : r));
    }

    LAZYT_UNCHECKED static float decode(unsigned short bits) {
        constexpr int bias = (1 << (E - 1)) - 1;
        unsigned exponent = bits >> M & ((1u << E) - 1), mantissa = bits & ((1u << M) - 1);
        unsigned sign = (unsigned)(bits >> 15) << 31;
        unsigned r = (exponent + 127 - bias) << 23 | mantissa << (23 - M);
        if (exponent == (1u << E) - 1) r = 0xffu << 23 | mantissa << (23 - M);
        if (!exponent) r = bit_cast<unsigned>(ldexpf((float)mantissa, 1 - bias - M));
        return bit_cast<float>(sign | r);
    }

    // Of the exact a * b + c: the sum is rounded to odd in double, so that it rounds once.
    LAZYT_UNCHECKED static Float16 fused(Float16 a, Float16 b, Float16 c) {
        double p = (double)(float)a * (float)b, q = (float)c, s = p + q;
        double t = s - p, error = (p - (s - t)) + (q - t);
        uint64_t u = bit_cast<uint64_t>(s);
        if (error != 0 && s - s == 0 && !(u & 1)) u += ((error > 0) == (s > 0)) ? 1 : -1;
        return Float16(bit_cast<double>(u));
    }

    friend LAZYT_INLINE Float16 operator+(Float16 a, Float16 b) { return (float)a + (float)b; }
    friend LAZYT_INLINE Float16 operator-(Float16 a, Float16 b) { return (float)a - (float)b; }
    friend LAZYT_INLINE Float16 operator*(Float16 a, Float16 b) { return (float)a * (float)b; }
    friend LAZYT_INLINE Float16 operator/(Float16 a, Float16 b) { return (float)a / (float)b; }
    friend LAZYT_INLINE Float16& operator+=(Float16& a, Float16 b) { return a = a + b; }
    friend LAZYT_INLINE Float16& operator-=(Float16& a, Float16 b) { return a = a - b; }
    friend LAZYT_INLINE Float16& operator*=(Float16& a, Float16 b) { return a = a * b; }
    friend LAZYT_INLINE Float16& operator/=(Float16& a, Float16 b) { return a = a / b; }
    friend LAZYT_INLINE Float16 operator-(Float16 a) { return from_bits(a.bits ^ 0x8000); }
    friend LAZYT_INLINE Float16 operator+(Float16 a) { return a; }
    friend LAZYT_INLINE bool operator==(Float16 a, Float16 b) { return (float)a == (float)b; }
    friend LAZYT_INLINE bool operator!=(Float16 a, Float16 b) { return (float)a != (float)b; }
    friend LAZYT_INLINE bool operator<(Float16 a, Float16 b) { return (float)a < (float)b; }
    friend LAZYT_INLINE bool operator<=(Float16 a, Float16 b) { return (float)a <= (float)b; }
    friend LAZYT_INLINE bool operator>(Float16 a, Float16 b) { return (float)a > (float)b; }
    friend LAZYT_INLINE bool operator>=(Float16 a, Float16 b) { return (float)a >= (float)b; }
};

template <class T>
struct __align__(4) Pair {
    T x, y;
    Pair() = default;
    LAZYT_INLINE Pair(T x, T y) : x(x), y(y) {}
    friend LAZYT_INLINE Pair operator+(Pair a, Pair b) { return {a.x + b.x, a.y + b.y}; }
    friend LAZYT_INLINE Pair operator-(Pair a, Pair b) { return {a.x - b.x, a.y - b.y}; }
    friend LAZYT_INLINE Pair operator*(Pair a, Pair b) { return {a.x * b.x, a.y * b.y}; }
    friend LAZYT_INLINE Pair operator/(Pair a, Pair b) { return {a.x / b.x, a.y / b.y}; }
    friend LAZYT_INLINE Pair& operator+=(Pair& a, Pair b) { return a = a + b; }
    friend LAZYT_INLINE Pair& operator*=(Pair& a, Pair b) { return a = a * b; }
    friend LAZYT_INLINE Pair operator-(Pair a) { return {-a.x, -a.y}; }
};

}  // namespace lazyt_host

using __half = lazyt_host::Float16<5, 10>;
using __half2 = lazyt_host::Pair<__half>;
using __nv_bfloat16 = lazyt_host::Float16<8, 7>;
using __nv_bfloat162 = lazyt_host::Pair<__nv_bfloat16>;
using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

// Names that contain the type's: __float2half, __int2half_rn, __half2float, __half_as_ushort, ...
#define LAZYT_FLOAT16(T, T2, name, name2, pair)                                           \
    LAZYT_DEVICE T __float2##name(float v) { return T(v); }                               \
    LAZYT_DEVICE T __float2##name##_rn(float v) { return T(v); }                          \
    LAZYT_DEVICE T __double2##name(double v) { return T(v); }                             \
    LAZYT_DEVICE T __int2##name##_rn(int v) { return T(v); }                              \
    LAZYT_DEVICE T __uint2##name##_rn(unsigned v) { return T(v); }                        \
    LAZYT_DEVICE T __ll2##name##_rn(long long v) { return T(v); }                         \
    LAZYT_DEVICE T __short2##name##_rn(short v) { return T(v); }                          \
    LAZYT_DEVICE float __##name##2float(T v) { return v; }                                \
    LAZYT_DEVICE int __##name##2int_rn(T v) { return (int)rintf(v); }                     \
    LAZYT_DEVICE int __##name##2int_rz(T v) { return (int)(float)v; }                     \
    LAZYT_DEVICE unsigned short __##name##_as_ushort(T v) { return v.bits; }              \
    LAZYT_DEVICE short __##name##_as_short(T v) { return (short)v.bits; }                 \
    LAZYT_DEVICE T __ushort_as_##name(unsigned short v) { return T::from_bits(v); }       \
    LAZYT_DEVICE T __short_as_##name(short v) { return T::from_bits((unsigned short)v); } \
    LAZYT_DEVICE T2 __floats2##name2##_rn(float x, float y) { return {T(x), T(y)}; }      \
    LAZYT_DEVICE T2 __float2##name2##_rn(float v) { return {T(v), T(v)}; }                \
    LAZYT_DEVICE T2 __float22##name2##_rn(float2 v) { return {T(v.x), T(v.y)}; }          \
    LAZYT_DEVICE float2 __##name2##2float2(T2 v) { return {(float)v.x, (float)v.y}; }     \
    LAZYT_DEVICE T2 __##name##2##name2(T v) { return {v, v}; }                            \
    LAZYT_DEVICE T2 __##pair(T x, T y) { return {x, y}; }                                 \
    LAZYT_DEVICE T2 make_##name2(T x, T y) { return {x, y}; }
LAZYT_FLOAT16(__half, __half2, half, half2, halves2half2)
LAZYT_FLOAT16(__nv_bfloat16, __nv_bfloat162, bfloat16, bfloat162, halves2bfloat162)
#undef LAZYT_FLOAT16

// Names that both types share.
#define LAZYT_BOTH(R, name, arguments, expression) \
    template <int E, int M>                        \
    LAZYT_DEVICE R name arguments {                \
        return expression;                         \
    }
#define LAZYT_F lazyt_host::Float16<E, M>
LAZYT_BOTH(LAZYT_F, __hadd, (LAZYT_F a, LAZYT_F b), a + b)
LAZYT_BOTH(LAZYT_F, __hsub, (LAZYT_F a, LAZYT_F b), a - b)
LAZYT_BOTH(LAZYT_F, __hmul, (LAZYT_F a, LAZYT_F b), a* b)
LAZYT_BOTH(LAZYT_F, __hdiv, (LAZYT_F a, LAZYT_F b), a / b)
LAZYT_BOTH(LAZYT_F, __hfma, (LAZYT_F a, LAZYT_F b, LAZYT_F c), (LAZYT_F::fused(a, b, c)))
LAZYT_BOTH(LAZYT_F, __hneg, (LAZYT_F a), -a)
LAZYT_BOTH(LAZYT_F, __habs, (LAZYT_F a), (LAZYT_F::from_bits(a.bits & 0x7fff)))
LAZYT_BOTH(LAZYT_F, __hmax, (LAZYT_F a, LAZYT_F b), fmaxf(a, b))
LAZYT_BOTH(LAZYT_F, __hmin, (LAZYT_F a, LAZYT_F b), fminf(a, b))
LAZYT_BOTH(bool, __heq, (LAZYT_F a, LAZYT_F b), a == b)
LAZYT_BOTH(bool, __hne, (LAZYT_F a, LAZYT_F b), a<b || a> b)
LAZYT_BOTH(bool, __hlt, (LAZYT_F a, LAZYT_F b), a < b)
LAZYT_BOTH(bool, __hle, (LAZYT_F a, LAZYT_F b), a <= b)
LAZYT_BOTH(bool, __hgt, (LAZYT_F a, LAZYT_F b), a > b)
LAZYT_BOTH(bool, __hge, (LAZYT_F a, LAZYT_F b), a >= b)
LAZYT_BOTH(bool, __hisnan, (LAZYT_F a), a != a)
LAZYT_BOTH(int, __hisinf, (LAZYT_F a), isinf((float)a) ? (a.bits >> 15 ? -1 : 1) : 0)
LAZYT_BOTH(LAZYT_F, hexp, (LAZYT_F a), expf(a))
LAZYT_BOTH(LAZYT_F, hlog, (LAZYT_F a), logf(a))
LAZYT_BOTH(LAZYT_F, hsqrt, (LAZYT_F a), sqrtf(a))
LAZYT_BOTH(LAZYT_F, hrsqrt, (LAZYT_F a), rsqrtf(a))
LAZYT_BOTH(LAZYT_F, hsin, (LAZYT_F a), sinf(a))
LAZYT_BOTH(LAZYT_F, hcos, (LAZYT_F a), cosf(a))
LAZYT_BOTH(LAZYT_F, htanh, (LAZYT_F a), tanhf(a))
LAZYT_BOTH(LAZYT_F, hfloor, (LAZYT_F a), floorf(a))
LAZYT_BOTH(LAZYT_F, hceil, (LAZYT_F a), ceilf(a))
LAZYT_BOTH(LAZYT_F, htrunc, (LAZYT_F a), truncf(a))
LAZYT_BOTH(LAZYT_F, hrint, (LAZYT_F a), rintf(a))
LAZYT_BOTH(lazyt_host::Pair<LAZYT_F>, __hadd2,
           (lazyt_host::Pair<LAZYT_F> a, lazyt_host::Pair<LAZYT_F> b), a + b)
LAZYT_BOTH(lazyt_host::Pair<LAZYT_F>, __hsub2,
           (lazyt_host::Pair<LAZYT_F> a, lazyt_host::Pair<LAZYT_F> b), a - b)
LAZYT_BOTH(lazyt_host::Pair<LAZYT_F>, __hmul2,
           (lazyt_host::Pair<LAZYT_F> a, lazyt_host::Pair<LAZYT_F> b), a* b)
template <int E, int M>
LAZYT_DEVICE lazyt_host::Pair<LAZYT_F> __hfma2(lazyt_host::Pair<LAZYT_F> a,
                                               lazyt_host::Pair<LAZYT_F> b,
                                               lazyt_host::Pair<LAZYT_F> c) {
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
LAZYT_BOTH(float, __low2float, (lazyt_host::Pair<LAZYT_F> a), a.x)
LAZYT_BOTH(float, __high2float, (lazyt_host::Pair<LAZYT_F> a), a.y)
#undef LAZYT_BOTH
#undef LAZYT_F
LAZYT_DEVICE __half __low2half(__half2 v) { return v.x; }
LAZYT_DEVICE __half __high2half(__half2 v) { return v.y; }
LAZYT_DEVICE __nv_bfloat16 __low2bfloat16(__nv_bfloat162 v) { return v.x; }
LAZYT_DEVICE __nv_bfloat16 __high2bfloat16(__nv_bfloat162 v) { return v.y; }
LAZYT_ATOMIC(atomicAdd, __half, old + v)
LAZYT_ATOMIC(atomicAdd, __nv_bfloat16, old + v)

// --------------------------------------------------------------------------- matrices of a warp
//
// nvcuda::wmma for the types and shapes that have accumulators in float or half. Lanes load and
// store elements one by one, as checked as any; which lane has which is not CUDA's order (that is
// not specified), and rotates from row to row: a missing __syncwarp shows, whatever lane wrote
// what. Products are summed in double and rounded once, which is at least as exact as a GPU. Floats
// that were not rounded to tf32 before are truncated to it.

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
namespace precision {
struct tf32;
}
enum layout_t { mem_row_major, mem_col_major };

}  // namespace wmma
}  // namespace nvcuda

namespace lazyt_host {

namespace wmma = nvcuda::wmma;

template <class T>
struct MatrixElement {
    using Stored = T;
    LAZYT_UNCHECKED static double value(T v) { return (float)v; }
};
template <>
struct MatrixElement<wmma::precision::tf32> {
    using Stored = float;
    LAZYT_UNCHECKED static double value(float v) {
        return bit_cast<float>(bit_cast<unsigned>(v) & ~0x1fffu);
    }
};

template <class Use, int M, int N, int K>
struct MatrixShape {
    static constexpr int rows = std::is_same<Use, wmma::matrix_b>::value ? K : M;
    static constexpr int columns = std::is_same<Use, wmma::matrix_a>::value ? K : N;
};

template <class T, int M, int N, int K>
constexpr bool has_matrices() {
    constexpr bool half = std::is_same<T, Float16<5, 10>>::value;
    if (std::is_same<T, wmma::precision::tf32>::value) return M == 16 && N == 16 && K == 8;
    if (half || std::is_same<T, Float16<8, 7>>::value)
        return M * N == 256 && K == 16 && (M == 8 || M == 16 || M == 32);
    return false;
}

// The row-major number of element i of a lane's, in a matrix of 32 elements a lane and step.
LAZYT_INLINE int matrix_element(int lane, int i) { return 32 * i + ((lane + 7 * i + 11) & 31); }

// A lane's elements to their places in the row-major matrix.
template <class Fragment>
LAZYT_RUNTIME void gather(double* matrix, const Fragment& f, int lane) {
    for (int i = 0; i < Fragment::num_elements; i++)
        matrix[matrix_element(lane, i)] =
            MatrixElement<typename Fragment::element_type>::value(f.x[i]);
}

// The lanes must agree about the matrix, and it must lie where a GPU can load it from.
struct MatrixAccess : Collective {
    const void* address;
    unsigned stride, bytes;
    int line;

    LAZYT_UNCHECKED static void check(Collective* const* lanes) {
        const MatrixAccess& first = *(const MatrixAccess*)lanes[0];
        for (int lane = 1; lane < 32; lane++) {
            const MatrixAccess& other = *(const MatrixAccess*)lanes[lane];
            if (other.address != first.address || other.stride != first.stride)
                return fail(WARP, current / 32 * 32 + lane,
                            "passes another matrix or stride to the operation of line %d than %s",
                            first.line, named(current / 32 * 32).text);
        }
        if ((uintptr_t)first.address % 32)
            fail(WARP, current, "the matrix of line %d is not aligned to 32 bytes", first.line);
        if (first.stride * first.bytes % 16)
            fail(WARP, current, "the stride of %u in line %d is no multiple of 16 bytes",
                 first.stride, first.line);
    }
};

// Returns the lane.
__attribute__((noinline)) LAZYT_RUNTIME int together(Collective& what, int line) {
    warp_operation(COLLECTIVE, ~0u, (uint64_t)&what, 0, 32, line);
    return current % 32;
}

template <class T>
LAZYT_INLINE int check_matrix(const T* address, unsigned stride, int line) {
    MatrixAccess access;
    access.run = MatrixAccess::check;
    access.address = address, access.stride = stride, access.bytes = sizeof(T), access.line = line;
    return together(access, line);
}

}  // namespace lazyt_host

namespace nvcuda {
namespace wmma {

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
    using element_type = T;
    using storage_element_type = typename lazyt_host::MatrixElement<T>::Stored;
    using Shape = lazyt_host::MatrixShape<Use, M, N, K>;
    static constexpr int num_elements = Shape::rows * Shape::columns / 32;
    static constexpr int num_storage_elements = num_elements;
    static_assert(std::is_same<Use, accumulator>::value || lazyt_host::has_matrices<T, M, N, K>(),
                  "the GPU has no matrices of this type and shape, or they are not modelled");
    storage_element_type x[num_elements];

    // Where element i of a lane's is, from the address of the first.
    static LAZYT_INLINE unsigned place(int lane, int i, unsigned stride, bool by_rows) {
        int e = lazyt_host::matrix_element(lane, i);
        int row = e / Shape::columns, column = e % Shape::columns;
        return by_rows ? row * stride + column : column * stride + row;
    }
};

template <class Use, int M, int N, int K, class T, class Layout>
LAZYT_DEVICE void fill_fragment(
    fragment<Use, M, N, K, T, Layout>& f,
    typename fragment<Use, M, N, K, T, Layout>::storage_element_type v) {
    for (auto& x : f.x) x = v;
}

template <class Use, int M, int N, int K, class T, class Layout, class Stored>
LAZYT_DEVICE void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& f, const Stored* from,
                                   unsigned stride, LAZYT_LINE) {
    static_assert(!std::is_same<Use, accumulator>::value, "an accumulator is loaded with a layout");
    int lane = lazyt_host::check_matrix(from, stride, line);
    for (int i = 0; i < f.num_elements; i++)
        f.x[i] = from[f.place(lane, i, stride, std::is_same<Layout, row_major>::value)];
}

template <int M, int N, int K, class T>
LAZYT_DEVICE void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const T* from,
                                   unsigned stride, layout_t layout, LAZYT_LINE) {
    int lane = lazyt_host::check_matrix(from, stride, line);
    for (int i = 0; i < f.num_elements; i++)
        f.x[i] = from[f.place(lane, i, stride, layout == mem_row_major)];
}

template <int M, int N, int K, class T>
LAZYT_DEVICE void store_matrix_sync(T* to, const fragment<accumulator, M, N, K, T>& f,
                                    unsigned stride, layout_t layout, LAZYT_LINE) {
    int lane = lazyt_host::check_matrix(to, stride, line);
    for (int i = 0; i < f.num_elements; i++)
        to[f.place(lane, i, stride, layout == mem_row_major)] = f.x[i];
}

// d = a b + c
template <int M, int N, int K, class T, class LayoutA, class LayoutB, class D, class C>
LAZYT_DEVICE void mma_sync(fragment<accumulator, M, N, K, D>& d,
                           const fragment<matrix_a, M, N, K, T, LayoutA>& a,
                           const fragment<matrix_b, M, N, K, T, LayoutB>& b,
                           const fragment<accumulator, M, N, K, C>& c, LAZYT_LINE) {
    struct Product : lazyt_host::Collective {
        fragment<accumulator, M, N, K, D>* d;
        const fragment<matrix_a, M, N, K, T, LayoutA>* a;
        const fragment<matrix_b, M, N, K, T, LayoutB>* b;
        const fragment<accumulator, M, N, K, C>* c;

        LAZYT_UNCHECKED static void multiply(lazyt_host::Collective* const* lanes) {
            double left[M * K], right[K * N], sum[M * N];
            for (int lane = 0; lane < 32; lane++) {
                const Product& p = *(const Product*)lanes[lane];
                lazyt_host::gather(left, *p.a, lane), lazyt_host::gather(right, *p.b, lane);
                lazyt_host::gather(sum, *p.c, lane);
            }
            for (int i = 0; i < M; i++)
                for (int k = 0; k < K; k++)
                    for (int j = 0; j < N; j++)
                        sum[i * N + j] += left[i * K + k] * right[k * N + j];
            for (int lane = 0; lane < 32; lane++) {
                auto& x = ((Product*)lanes[lane])->d->x;
                for (int i = 0; i < M * N / 32; i++)
                    x[i] = D(sum[lazyt_host::matrix_element(lane, i)]);
            }
        }
    } product;
    product.run = Product::multiply;
    product.d = &d, product.a = &a, product.b = &b, product.c = &c;
    lazyt_host::together(product, line);
}

// To the nearest of the numbers with ten bits of mantissa; of two the one further from zero.
LAZYT_DEVICE float __float_to_tf32(float v) {
    unsigned bits = lazyt_host::bit_cast<unsigned>(v);
    bool finite = (bits >> 23 & 0xff) != 0xff;
    return finite ? lazyt_host::bit_cast<float>((bits + 0x1000u) & ~0x1fffu) : v;
}

}  // namespace wmma
}  // namespace nvcuda
