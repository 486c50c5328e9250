/**
 * @file
 * The inner loops of the reader: functions that a target may replace by faster ones. All of them are thread-safe and
 * keep no state; no pointer needs any alignment, and no two buffers of a call overlap.
 */
#ifndef ETZ_KERNELS_H
#define ETZ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A set of inner loops. Constant, shared by all threads; it must outlive the files opened with it. */
typedef struct etz_kernels {
    /**
     * CRC-32C (RFC 3720) of bytes.
     *
     * @param[in] crc 0, or the CRC of the bytes before these.
     * @param[in] data `size` bytes.
     * @return the CRC of everything so far; the CRC of nothing is 0.
     */
    uint32_t (*crc32c)(uint32_t crc, const uint8_t *data, size_t size);

    /**
     * Put elements together from their byte planes.
     *
     * @param[out] dest `width * count` bytes. Byte k of element i is `dest[width * i + k]`.
     * @param[in] planes `width` planes of `count` bytes; plane k holds byte k of every element.
     * @param[in] count Elements.
     * @param[in] width Bytes of an element: 2, 4 or 8.
     * @param[in] rotated Not 0: rotate each element, a little-endian integer, right by one bit.
     */
    void (*merge)(uint8_t *dest, const uint8_t *const *planes, size_t count, unsigned width, int rotated);

    /**
     * Undo the transposition of bits of a plane (section 5.3 of the specification).
     *
     * @param[out] plane `size` bytes.
     * @param[in] rows 8 rows of `ceil(size / 8)` bytes, the row of the lowest bit first. Bits past `size` are ignored.
     * @param[in] size Bytes of the plane.
     */
    void (*from_bitplanes)(uint8_t *plane, const uint8_t *rows, size_t size);
} etz_kernels;

/** Plain C for any processor and byte order; a table of 1 KiB for the CRC. */
extern const etz_kernels etz_kernels_portable;

/**
 * Choose the fastest kernels for the processor that this runs on: AVX2 or SSE4.2 on x86-64, NEON and the CRC instructions
 * on AArch64, else `etz_kernels_portable`. Asks the processor each time and stores nothing: call it once for a file.
 * Needs all `etz_kernels*.c`; who wants only the portable ones leaves out all but `etz_kernels.c`.
 */
const etz_kernels *etz_kernels_best(void);

#ifdef __cplusplus
}
#endif
#endif
