/* LZ4 blocks, by liblz4. */
#include <lz4.h>

#include "etz_decoders.h"

static etz_status decode(void *user, void *workspace, const etz_stream *streams, size_t count)
{
    (void)user;
    (void)workspace;
    for (size_t i = 0; i < count; i++) {
        const etz_stream *stream = &streams[i];
        /* Sizes are at most 4 MiB. A block that has bytes behind its end does not decode, or gives more. */
        const int size = LZ4_decompress_safe((const char *)stream->stored, (char *)stream->dest,
                                             (int)stream->stored_size, (int)stream->size);
        if (size < 0 || (uint32_t)size != stream->size)
            return ETZ_CORRUPT;
    }
    return ETZ_OK;
}

const etz_decoder etz_decoder_lz4 = {ETZ_CODEC_LZ4, 0, 0, NULL, NULL, NULL, decode};
