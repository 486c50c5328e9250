/* Compares every set of kernels that this processor can run with plain definitions, for many sizes; silent if all is well. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etz_kernels.h"
#include "etz_kernels_arm.h"
#include "etz_kernels_x86.h"

enum { MOST = 9000, MARGIN = 64 };

static uint8_t input[8 * MOST + MARGIN], output[8 * MOST + MARGIN];
static unsigned long failures;

static void expect(int good, const char *what, const char *kernels, size_t size)
{
    if (!good && failures++ < 20)
        printf("%s: %s is wrong for size %lu\n", kernels, what, (unsigned long)size);
}

static uint32_t plain_crc(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
    }
    return ~crc;
}

static void check_crc(const etz_kernels *kernels, const char *name, size_t size)
{
    const uint32_t crc = plain_crc(input + 1, size);
    expect(kernels->crc32c(0, input + 1, size) == crc, "crc32c", name, size);
    const uint32_t first = kernels->crc32c(0, input + 1, size / 3);
    expect(kernels->crc32c(first, input + 1 + size / 3, size - size / 3) == crc, "crc32c in two", name, size);
}

static void check_merge(const etz_kernels *kernels, const char *name, size_t count, unsigned width, int rotated)
{
    const uint8_t *planes[8];
    int good = 1;
    for (unsigned k = 0; k < width; k++)
        planes[k] = input + k * (count + 3);
    memset(output, 0xEE, sizeof output);
    kernels->merge(output + 1, planes, count, width, rotated);
    for (size_t i = 0; i < count; i++) {
        uint64_t element = 0;
        for (unsigned k = 0; k < width; k++)
            element |= (uint64_t)planes[k][i] << (8 * k);
        if (rotated)
            element = (element >> 1 | (element & 1) << (8 * width - 1));
        for (unsigned k = 0; k < width; k++)
            good &= output[1 + width * i + k] == (uint8_t)(element >> (8 * k));
    }
    good &= output[0] == 0xEE && output[1 + width * count] == 0xEE;
    expect(good, rotated ? "merge, rotated" : "merge", name, count * 10 + width);
}

static void check_bitplanes(const etz_kernels *kernels, const char *name, size_t size)
{
    const size_t row = (size + 7) / 8;
    int good = 1;
    memset(output, 0xEE, sizeof output);
    kernels->from_bitplanes(output + 1, input, size);
    for (size_t i = 0; i < size; i++)
        for (unsigned b = 0; b < 8; b++)
            good &= (output[1 + i] >> b & 1) == (input[b * row + i / 8] >> (i % 8) & 1);
    expect(good && output[0] == 0xEE && output[1 + size] == 0xEE, "from_bitplanes", name, size);
}

static void check(const etz_kernels *kernels, const char *name)
{
    for (size_t size = 0; size <= MOST; size += size < 450 ? 1 : 331) {
        check_crc(kernels, name, size);
        check_bitplanes(kernels, name, size);
        for (unsigned width = 2; width <= 8; width *= 2)
            for (int rotated = 0; rotated < 2; rotated++)
                if (size * 8 <= 7 * MOST)
                    check_merge(kernels, name, size, width, rotated);
    }
    printf("%s\n", name);
}

int main(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof input; i++) {
        state = state * 1664525u + 1013904223u;
        input[i] = (uint8_t)(state >> 24);
    }
    expect(etz_kernels_portable.crc32c(0, (const uint8_t *)"123456789", 9) == 0xE3069283, "crc32c", "RFC 3720", 9);
    check(&etz_kernels_portable, "portable");
    check(etz_kernels_best(), "best");
#if defined(ETZ_HAVE_X86)
    if (etz_kernels_best() != &etz_kernels_portable)
        check(&etz_kernels_sse42, "sse42");
#endif
#if defined(ETZ_HAVE_ARM64)
    check(&etz_kernels_neon, "neon");
#endif
    return failures ? 1 : 0;
}
