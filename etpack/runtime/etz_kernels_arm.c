/* Inner loops for AArch64: CRC-32C with its CRC instructions, planes with NEON. etz_kernels_best() asks for the former. */
#include "etz_kernels_arm.h"

#if defined(ETZ_HAVE_ARM64)

#include <arm_neon.h>
#include <string.h>

/* In assembly, since compilers offer the instructions in different ways where they are not told to use them everywhere. */
static uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t size)
{
    crc = ~crc;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, sizeof word);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    }
    for (; size; data++, size--)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*data));
    return ~crc;
}

/* Rotating an integer right by one bit moves the lowest bit of each byte to the top of the byte below it. */
static inline uint8x16_t rotated_bytes(uint8x16_t bytes, uint8x16_t above)
{
    return vsliq_n_u8(vshrq_n_u8(bytes, 1), above, 7);
}

static size_t merge_2(uint8_t *dest, const uint8_t *const *planes, size_t count, int rotated)
{
    size_t i = 0;
    for (; count - i >= 16; i += 16) {
        uint8x16x2_t bytes = {{vld1q_u8(planes[0] + i), vld1q_u8(planes[1] + i)}};
        if (rotated) {
            const uint8x16x2_t before = bytes;
            for (int k = 0; k < 2; k++)
                bytes.val[k] = rotated_bytes(before.val[k], before.val[(k + 1) % 2]);
        }
        vst2q_u8(dest + 2 * i, bytes);
    }
    return i;
}

static size_t merge_4(uint8_t *dest, const uint8_t *const *planes, size_t count, int rotated)
{
    size_t i = 0;
    for (; count - i >= 16; i += 16) {
        uint8x16x4_t bytes = {
            {vld1q_u8(planes[0] + i), vld1q_u8(planes[1] + i), vld1q_u8(planes[2] + i), vld1q_u8(planes[3] + i)}};
        if (rotated) {
            const uint8x16x4_t before = bytes;
            for (int k = 0; k < 4; k++)
                bytes.val[k] = rotated_bytes(before.val[k], before.val[(k + 1) % 4]);
        }
        vst4q_u8(dest + 4 * i, bytes);
    }
    return i;
}

static void merge(uint8_t *dest, const uint8_t *const *planes, size_t count, unsigned width, int rotated)
{
    const uint8_t *rest[8];
    const size_t done = width == 2 ? merge_2(dest, planes, count, rotated)
                      : width == 4 ? merge_4(dest, planes, count, rotated)
                                   : 0;
    if (done == count)
        return;
    for (unsigned k = 0; k < width; k++)
        rest[k] = planes[k] + done;
    etz_kernels_portable.merge(dest + done * width, rest, count - done, width, rotated);
}

static uint32_t crc32c_portably(uint32_t crc, const uint8_t *data, size_t size)
{
    return etz_kernels_portable.crc32c(crc, data, size);
}

static void from_bitplanes(uint8_t *plane, const uint8_t *rows, size_t size)
{
    etz_kernels_portable.from_bitplanes(plane, rows, size);
}

const etz_kernels etz_kernels_neon_crc = {crc32c, merge, from_bitplanes};
const etz_kernels etz_kernels_neon = {crc32c_portably, merge, from_bitplanes};

#else

/* C wants a declaration in every file. */
typedef int etz_no_kernels_arm;

#endif
