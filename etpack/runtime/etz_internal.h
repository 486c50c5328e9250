/* What the files of the reader share; not for its users. */
#ifndef ETZ_INTERNAL_H
#define ETZ_INTERNAL_H

#include "etz_reader.h"

/* Names that the files share begin with etz_i_, so that they clash with nobody's in a static link. */

enum {
    /* Alignment of every buffer carved from the caller's region. */
    ETZ_I_ALIGNMENT = 64,
    /* etz_open() reads the section table by way of the stack, in pieces of so many bytes. */
    ETZ_I_PIECE = 256,
    /* Elements merged at a time where a plane is constant. */
    ETZ_I_CONSTANT_RUN = 256,
    ETZ_I_MAX_BATCH = 65535,
    /* In the place of a number in etz_file::codecs: the plane needs no decoder. */
    ETZ_I_RAW = ETZ_MAX_CODECS,
    ETZ_I_CONSTANT
};

/* One plane of a block; a block without a filter is one plane. */
typedef struct etz_i_plane {
    /* Its stream; its bytes, when that is decoded. */
    const uint8_t *stream;
    /* Where its bytes go if it has a codec. */
    uint8_t *dest;
    uint32_t stream_size;
    /* Of a constant plane. */
    uint32_t value;
    /* Number of its codec in etz_file::codecs, or ETZ_I_RAW, also when it is decoded, or ETZ_I_CONSTANT. */
    uint32_t codec;
} etz_i_plane;

/* A block to decode, whole. */
typedef struct etz_job {
    etz_block block;
    /* Where its content goes. */
    uint8_t *dest;
    const uint8_t *stored;
    /* Its part of the context's `planes`: decoded planes, and behind them one plane's bits. */
    uint8_t *bits;
    uint32_t plane_size;
    uint32_t plane_count;
    /* Elements to merge at a time. */
    uint32_t run;
    /* Number of the plane whose bits are in `bits`, counted from 1; 0 if there are none. */
    uint32_t transposed;
    etz_i_plane planes[ETZ_MAX_PLANES];
} etz_job;

/* Compilers make one load of it, and do not see beforehand that it is less than a call. */
#if defined(__GNUC__)
#define ETZ_I_INLINE static inline __attribute__((always_inline))
#else
#define ETZ_I_INLINE static inline
#endif

/* Little-endian integers at any address. */
ETZ_I_INLINE uint32_t etz_i_u16(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8;
}

ETZ_I_INLINE uint32_t etz_i_u32(const uint8_t *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

ETZ_I_INLINE uint64_t etz_i_u48(const uint8_t *bytes)
{
    return etz_i_u32(bytes) | (uint64_t)etz_i_u16(bytes + 4) << 32;
}

ETZ_I_INLINE uint64_t etz_i_u64(const uint8_t *bytes)
{
    return etz_i_u32(bytes) | (uint64_t)etz_i_u32(bytes + 4) << 32;
}

/* `alignment` is a power of two. */
static inline uint64_t etz_i_align(uint64_t offset, uint64_t alignment)
{
    return (offset + alignment - 1) & ~(alignment - 1);
}

/* Return stored bytes in place, or read into `buffer`; NULL if that failed. The range lies in the source. */
const uint8_t *etz_i_view(const etz_source *source, uint64_t offset, size_t size, uint8_t *buffer);

/* The same, and counted. */
const uint8_t *etz_i_fetch(etz_context *context, uint64_t offset, size_t size, uint8_t *buffer);

/* Bytes that the page has with its checksum. */
uint32_t etz_i_page_size(const etz_table *table, uint32_t number);

/* Check all of the extent table: what is looked up later has only its page's checksum to be compared. */
etz_status etz_i_check_extents(etz_context *context);

/* Fetch and decode whole blocks to where each job says; the context's scratch holds so many. */
etz_status etz_i_decode(etz_context *context, uint32_t count);

#endif
