/* Inner loops for x86-64: CRC-32C with SSE4.2, planes with AVX2. Compiled for the plain instruction set: each function says
 * what it needs, and etz_kernels_best() asks the processor. */
#include "etz_kernels_x86.h"

#if defined(ETZ_HAVE_X86)

#include <immintrin.h>
#include <string.h>

#if defined(__GNUC__)
#define SSE42 __attribute__((target("sse4.2,pclmul")))
#define AVX2 __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline))
#else
#define SSE42
#define AVX2
#define INLINE static __forceinline
#endif

/* Vectors in arrays stay in registers, and not on the stack, if the loops over them are unrolled; of itself gcc does that only at -O3. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif

enum {
    /* Bytes of each of the three runs of which CRCs are made side by side. */
    LONG_RUN = 1024,
    SHORT_RUN = 128,
    /* Bytes of the destination that are asked for ahead of a store. */
    STORE_AHEAD = 8 << 10
};

INLINE SSE42 uint64_t load_u64(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    return word;
}

/* Moves a CRC over zeros: x^(8 run - 33) modulo the polynomial, and the same for two runs, both reflected. 33, since a product of
 * two reflected numbers lacks one bit, and the instruction for the CRC of 8 bytes adds 32. */
typedef struct shift {
    uint64_t one;
    uint64_t two;
} shift;

/* The processor makes a CRC of 8 bytes in each cycle, but has the result only three cycles later: so three at a time. */
INLINE SSE42 uint64_t crc_of_three(uint64_t crc, const uint8_t *data, size_t run, shift by)
{
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < run - 8; i += 8) {
        /* Three places at once are more than some processors see coming. What lies behind the end is never waited for. */
        _mm_prefetch((const char *)((uintptr_t)data + 3 * run + 3 * i), _MM_HINT_T0);
        crc = _mm_crc32_u64(crc, load_u64(data + i));
        second = _mm_crc32_u64(second, load_u64(data + run + i));
        third = _mm_crc32_u64(third, load_u64(data + 2 * run + i));
    }
    crc = _mm_crc32_u64(crc, load_u64(data + run - 8));
    second = _mm_crc32_u64(second, load_u64(data + 2 * run - 8));
    const __m128i factors = _mm_set_epi64x((long long)by.one, (long long)by.two);
    const __m128i first_moved = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), factors, 0x00);
    const __m128i second_moved = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)second), factors, 0x10);
    const uint64_t moved = (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(first_moved, second_moved));
    return _mm_crc32_u64(third, load_u64(data + 3 * run - 8) ^ moved);
}

static SSE42 uint32_t crc32c(uint32_t before, const uint8_t *data, size_t size)
{
    static const shift over_long = {0x170076FA, 0xA51B6135}, over_short = {0x0D3B6092, 0xB9E02B86};
    uint64_t crc = ~before;
    for (; size >= 3 * LONG_RUN; data += 3 * LONG_RUN, size -= 3 * LONG_RUN)
        crc = crc_of_three(crc, data, LONG_RUN, over_long);
    for (; size >= 3 * SHORT_RUN; data += 3 * SHORT_RUN, size -= 3 * SHORT_RUN)
        crc = crc_of_three(crc, data, SHORT_RUN, over_short);
    for (; size >= 8; data += 8, size -= 8)
        crc = _mm_crc32_u64(crc, load_u64(data));
    for (; size; data++, size--)
        crc = _mm_crc32_u8((uint32_t)crc, *data);
    return ~(uint32_t)crc;
}

/* Vectors of AVX2 are two lanes that interleave apart. So the bytes of a plane are loaded crosswise: its even groups of 4 into the
 * lower lane, the odd ones into the upper. Interleaving bytes and then pairs of two planes each puts groups side by side again. */
INLINE AVX2 __m256i load_crosswise(const uint8_t *plane)
{
    const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    return _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)(const void *)plane), order);
}

INLINE AVX2 void store(uint8_t *dest, __m256i bytes)
{
    _mm256_storeu_si256((__m256i *)(void *)dest, bytes);
}

/* A store waits for its line of memory, and a core waits for few lines at once in its first cache, but for more in its second: so lines
 * are asked for there some way ahead. What lies behind the end of this block is mostly the next one. Nothing waits for it. */
INLINE AVX2 void store_line(uint8_t *dest, __m256i low, __m256i high)
{
    _mm_prefetch((const char *)((uintptr_t)dest + STORE_AHEAD), _MM_HINT_T1);
    store(dest, low);
    store(dest + 32, high);
}

/* Elements of 4 bytes of 32 bytes of four planes, in order. */
INLINE AVX2 void interleave_4(const uint8_t *const *planes, size_t at, __m256i *elements)
{
    const __m256i a = load_crosswise(planes[0] + at), b = load_crosswise(planes[1] + at);
    const __m256i c = load_crosswise(planes[2] + at), d = load_crosswise(planes[3] + at);
    const __m256i ab_low = _mm256_unpacklo_epi8(a, b), ab_high = _mm256_unpackhi_epi8(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi8(c, d), cd_high = _mm256_unpackhi_epi8(c, d);
    elements[0] = _mm256_unpacklo_epi16(ab_low, cd_low);
    elements[1] = _mm256_unpackhi_epi16(ab_low, cd_low);
    elements[2] = _mm256_unpacklo_epi16(ab_high, cd_high);
    elements[3] = _mm256_unpackhi_epi16(ab_high, cd_high);
}

/* Elements of 8 bytes of 32 bytes of eight planes, in order. */
INLINE AVX2 void interleave_8(const uint8_t *const *planes, size_t at, __m256i *elements)
{
    __m256i lower[4], upper[4];
    interleave_4(planes, at, lower);
    interleave_4(planes + 4, at, upper);
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256i low = _mm256_unpacklo_epi32(lower[i], upper[i]), high = _mm256_unpackhi_epi32(lower[i], upper[i]);
        elements[2 * i] = _mm256_permute2x128_si256(low, high, 0x20);
        elements[2 * i + 1] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}

INLINE AVX2 size_t merge_2(uint8_t *dest, const uint8_t *const *planes, size_t count, int rotated)
{
    size_t i = 0;
    for (; count - i >= 32; i += 32) {
        const __m256i a = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)(const void *)(planes[0] + i)), 0xD8);
        const __m256i b = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i *)(const void *)(planes[1] + i)), 0xD8);
        __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
        if (rotated) {
            low = _mm256_or_si256(_mm256_srli_epi16(low, 1), _mm256_slli_epi16(low, 15));
            high = _mm256_or_si256(_mm256_srli_epi16(high, 1), _mm256_slli_epi16(high, 15));
        }
        store_line(dest + 2 * i, low, high);
    }
    return i;
}

INLINE AVX2 size_t merge_4(uint8_t *dest, const uint8_t *const *planes, size_t count, int rotated)
{
    size_t i = 0;
    for (; count - i >= 32; i += 32) {
        __m256i elements[4];
        interleave_4(planes, i, elements);
        UNROLL
        for (size_t j = 0; j < 4; j += 2) {
            __m256i low = elements[j], high = elements[j + 1];
            if (rotated) {
                low = _mm256_or_si256(_mm256_srli_epi32(low, 1), _mm256_slli_epi32(low, 31));
                high = _mm256_or_si256(_mm256_srli_epi32(high, 1), _mm256_slli_epi32(high, 31));
            }
            store_line(dest + 4 * i + 32 * j, low, high);
        }
    }
    return i;
}

INLINE AVX2 size_t merge_8(uint8_t *dest, const uint8_t *const *planes, size_t count, int rotated)
{
    size_t i = 0;
    for (; count - i >= 32; i += 32) {
        __m256i elements[8];
        interleave_8(planes, i, elements);
        UNROLL
        for (size_t j = 0; j < 8; j += 2) {
            __m256i low = elements[j], high = elements[j + 1];
            if (rotated) {
                low = _mm256_or_si256(_mm256_srli_epi64(low, 1), _mm256_slli_epi64(low, 63));
                high = _mm256_or_si256(_mm256_srli_epi64(high, 1), _mm256_slli_epi64(high, 63));
            }
            store_line(dest + 8 * i + 32 * j, low, high);
        }
    }
    return i;
}

static AVX2 void merge(uint8_t *dest, const uint8_t *const *planes, size_t count, unsigned width, int rotated)
{
    const uint8_t *rest[8];
    size_t done;
    if (width == 2)
        done = rotated ? merge_2(dest, planes, count, 1) : merge_2(dest, planes, count, 0);
    else if (width == 4)
        done = rotated ? merge_4(dest, planes, count, 1) : merge_4(dest, planes, count, 0);
    else
        done = merge_8(dest, planes, count, rotated);
    if (done == count)
        return;
    for (unsigned k = 0; k < width; k++)
        rest[k] = planes[k] + done;
    etz_kernels_portable.merge(dest + done * width, rest, count - done, width, rotated);
}

/* Transpose four matrices of 8 by 8 bits, each in 8 bytes. */
INLINE AVX2 __m256i transpose_bits(__m256i words)
{
    __m256i moved = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(words, 7), words), _mm256_set1_epi64x(0x00AA00AA00AA00AA));
    words = _mm256_xor_si256(words, _mm256_xor_si256(moved, _mm256_slli_epi64(moved, 7)));
    moved = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(words, 14), words), _mm256_set1_epi64x(0x0000CCCC0000CCCC));
    words = _mm256_xor_si256(words, _mm256_xor_si256(moved, _mm256_slli_epi64(moved, 14)));
    moved = _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi64(words, 28), words), _mm256_set1_epi64x(0x00000000F0F0F0F0));
    return _mm256_xor_si256(words, _mm256_xor_si256(moved, _mm256_slli_epi64(moved, 28)));
}

INLINE AVX2 void from_bits_of_256(uint8_t *plane, const uint8_t *const *starts, size_t group)
{
    __m256i words[8];
    interleave_8(starts, group, words);
    UNROLL
    for (size_t j = 0; j < 8; j++)
        store(plane + 8 * group + 32 * j, transpose_bits(words[j]));
}

static AVX2 void from_bitplanes(uint8_t *plane, const uint8_t *rows, size_t size)
{
    const size_t whole = size / 8, rest = size % 8, row_size = whole + (rest != 0);
    const uint8_t *starts[8];
    uint8_t last[8];
    if (whole < 32) {
        etz_kernels_portable.from_bitplanes(plane, rows, size);
        return;
    }
    for (unsigned b = 0; b < 8; b++) {
        starts[b] = rows + b * row_size;
        last[b] = starts[b][row_size - 1];
    }
    for (size_t i = 0; i < whole - 32; i += 32)
        from_bits_of_256(plane, starts, i);
    /* The last ones end where the whole groups do, and may do some of those before them again. */
    from_bits_of_256(plane, starts, whole - 32);
    etz_kernels_portable.from_bitplanes(plane + 8 * whole, last, rest);
}

static void merge_portably(uint8_t *dest, const uint8_t *const *planes, size_t count, unsigned width, int rotated)
{
    etz_kernels_portable.merge(dest, planes, count, width, rotated);
}

static void from_bitplanes_portably(uint8_t *plane, const uint8_t *rows, size_t size)
{
    etz_kernels_portable.from_bitplanes(plane, rows, size);
}

const etz_kernels etz_kernels_sse42 = {crc32c, merge_portably, from_bitplanes_portably};
const etz_kernels etz_kernels_avx2 = {crc32c, merge, from_bitplanes};

#else

/* C wants a declaration in every file. */
typedef int etz_no_kernels_x86;

#endif
