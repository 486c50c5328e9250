/* zstd frames, by libzstd, with a decoding context in the reader's workspace. */
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_initStaticDCtx */
#include <zstd.h>

#include "etz_decoders.h"

static uint64_t little_endian(const uint8_t *bytes, uint32_t size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | bytes[size];
    return value;
}

/* Whether a frame is what the specification allows, and ends where its stream does; looked at before it is decoded. */
static int is_good_frame(const etz_stream *stream)
{
    enum { MAGIC = 4, SINGLE_SEGMENT = 1 << 5, HAS_CHECKSUM = 1 << 2, MUST_BE_ZERO = 1 << 3 | 3, RUN = 1 };
    static const uint8_t magic[MAGIC] = {0x28, 0xB5, 0x2F, 0xFD};
    const uint8_t *bytes = stream->stored;
    const uint32_t size = stream->stored_size;
    if (size < MAGIC + 2)
        return 0;
    for (unsigned i = 0; i < MAGIC; i++)
        if (bytes[i] != magic[i])
            return 0;
    const uint32_t descriptor = bytes[MAGIC], field = UINT32_C(1) << (descriptor >> 6);
    uint32_t position = MAGIC + 1 + field;
    if ((descriptor & (SINGLE_SEGMENT | MUST_BE_ZERO)) != SINGLE_SEGMENT || position > size)
        return 0;
    if (little_endian(bytes + MAGIC + 1, field) + (field == 2 ? 256 : 0) != stream->size)
        return 0;
    for (int last = 0; !last;) {
        if (size - position < 3)
            return 0;
        const uint32_t block = (uint32_t)little_endian(bytes + position, 3);
        /* A block of this type is one byte, repeated. */
        const uint32_t block_size = (block >> 1 & 3) == RUN ? 1 : block >> 3;
        position += 3;
        if (block_size > size - position)
            return 0;
        position += block_size;
        last = block & 1;
    }
    return size - position == (descriptor & HAS_CHECKSUM ? 4u : 0u);
}

static size_t workspace_size(void *user, uint32_t largest, uint32_t streams)
{
    (void)user;
    (void)largest;
    (void)streams;
    return ZSTD_estimateDCtxSize();
}

/* The context begins where the workspace does, as ZSTD_initStaticDCtx says. */
static etz_status prepare(void *user, void *workspace, size_t size)
{
    (void)user;
    return ZSTD_initStaticDCtx(workspace, size) == workspace ? ETZ_OK : ETZ_MEMORY;
}

static etz_status decode(void *user, void *workspace, const etz_stream *streams, size_t count)
{
    ZSTD_DCtx *context = workspace;
    (void)user;
    for (size_t i = 0; i < count; i++) {
        const etz_stream *stream = &streams[i];
        if (!is_good_frame(stream))
            return ETZ_CORRUPT;
        const size_t size =
            ZSTD_decompressDCtx(context, stream->dest, stream->size, stream->stored, stream->stored_size);
        if (ZSTD_isError(size) || size != stream->size)
            return ETZ_CORRUPT;
    }
    return ETZ_OK;
}

const etz_decoder etz_decoder_zstd = {ETZ_CODEC_ZSTD, 0, 0, NULL, workspace_size, prepare, decode};
