/* Which kernels this processor can run. */
#include "etz_kernels_arm.h"
#include "etz_kernels_x86.h"

#if defined(ETZ_HAVE_X86)

#if defined(_MSC_VER)
#include <intrin.h>

static void ask(unsigned leaf, unsigned *ebx, unsigned *ecx)
{
    int registers[4];
    __cpuidex(registers, (int)leaf, 0);
    *ebx = (unsigned)registers[1];
    *ecx = (unsigned)registers[2];
}

static unsigned saved_registers(void)
{
    return (unsigned)_xgetbv(0);
}
#else
#include <cpuid.h>

static void ask(unsigned leaf, unsigned *ebx, unsigned *ecx)
{
    unsigned eax, edx;
    *ebx = *ecx = 0;
    (void)__get_cpuid_count(leaf, 0, &eax, ebx, ecx, &edx);
}

/* What registers the system saves when it changes threads (XCR0). */
static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}
#endif

const etz_kernels *etz_kernels_best(void)
{
    enum { PCLMUL = 1 << 1, SSE42 = 1 << 20, OSXSAVE = 1 << 27, AVX2 = 1 << 5, VECTORS_SAVED = 6 };
    unsigned ebx, ecx, unused;
    ask(1, &unused, &ecx);
    if (!(ecx & SSE42) || !(ecx & PCLMUL))
        return &etz_kernels_portable;
    ask(7, &ebx, &unused);
    if ((ecx & OSXSAVE) && (ebx & AVX2) && (saved_registers() & VECTORS_SAVED) == VECTORS_SAVED)
        return &etz_kernels_avx2;
    return &etz_kernels_sse42;
}

#elif defined(ETZ_HAVE_ARM64)

#if defined(__ARM_FEATURE_CRC32)
static int has_crc(void)
{
    return 1;
}
#elif defined(__linux__)
#include <sys/auxv.h>

static int has_crc(void)
{
    enum { CRC32 = 1 << 7 };
    return (getauxval(AT_HWCAP) & CRC32) != 0;
}
#else
static int has_crc(void)
{
    return 0;
}
#endif

const etz_kernels *etz_kernels_best(void)
{
    return has_crc() ? &etz_kernels_neon_crc : &etz_kernels_neon;
}

#else

const etz_kernels *etz_kernels_best(void)
{
    return &etz_kernels_portable;
}

#endif
