/* A context: its memory, and reading ranges with it. */
#include <string.h>

#include "etz_internal.h"

const char *etz_status_slug(etz_status status)
{
    static const char slugs[][14] = {"ok",          "not-etz", "truncated", "corrupt", "unsupported", "codec-missing",
                                     "limit",       "io",      "range",     "memory",  "unknown"};
    const size_t last = sizeof slugs / sizeof slugs[0] - 1, number = (size_t)status;
    return slugs[number < last ? number : last];
}

/* Carves a region: counts bytes, from an address that may stand for none. 64 bits hold every sum: a batch has less than 2^16
 * blocks of less than 2^33 bytes each, and what a decoder says is checked. */
typedef struct carver {
    uintptr_t base;
    uint64_t used;
    uint64_t alignment;
} carver;

static void *take(carver *region, uint64_t size)
{
    const uint64_t offset = region->used;
    region->used = etz_i_align(offset + size, region->alignment);
    return (void *)(region->base + (uintptr_t)offset);
}

/* Give each codec's decoder its workspace, and let it prepare that if it is there; the two codecs that LZ4 may serve share one. */
static etz_status take_workspaces(carver *region, etz_context *context)
{
    const etz_file *file = context->file;
    const etz_decoder *last = NULL;
    void *workspace = NULL;
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        const etz_decoder *decoder = file->decoders[i];
        if (decoder && decoder != last) {
            etz_status status = ETZ_OK;
            size_t size = 0;
            if (decoder->workspace_size)
                size = decoder->workspace_size(decoder->user, UINT32_C(1) << file->block_size_log2,
                                               context->batch_blocks * ETZ_MAX_PLANES);
            if (size > SIZE_MAX / 2)
                return ETZ_LIMIT;
            workspace = size ? take(region, size) : NULL;
            if (region->base && decoder->prepare)
                status = decoder->prepare(decoder->user, workspace, size);
            if (status)
                return status;
            last = decoder;
        }
        context->workspaces[i] = workspace;
    }
    return region->used > SIZE_MAX / 2 ? ETZ_LIMIT : ETZ_OK;
}

/* Make a context in a region; no byte of it is touched if its base is 0. */
static etz_status carve(carver *region, etz_context *context, const etz_file *file, uint32_t batch_blocks)
{
    const uint64_t block_size = UINT64_C(1) << file->block_size_log2;
    if (!batch_blocks || batch_blocks > ETZ_I_MAX_BATCH)
        return ETZ_MEMORY;
    memset(context, 0, sizeof *context);
    context->file = file;
    context->batch_blocks = batch_blocks;
    context->kept_block = ETZ_NO_BLOCK;
    context->index.table = &file->index;
    context->extents.table = &file->extents;
    context->index.number = context->extents.number = UINT32_MAX;
    /* All are powers of two. */
    uint32_t alignment = ETZ_I_ALIGNMENT;
    if (alignment < file->stream_alignment)
        alignment = file->stream_alignment;
    if (alignment < file->dest_alignment)
        alignment = file->dest_alignment;
    region->used = 0;
    region->alignment = alignment;
    context->stored = context->block = take(region, file->content_size < block_size ? file->content_size : block_size);
    if (file->source.read_at) {
        context->stored_room = etz_i_align(file->max_stored_block, file->stream_alignment);
        context->stored = take(region, context->stored_room * batch_blocks);
        context->index.buffer = take(region, etz_i_page_size(&file->index, 0));
        context->extents.buffer = take(region, etz_i_page_size(&file->extents, 0));
    }
    /* Planes, and at last the bits of one, may each be aligned. */
    context->planes_step = etz_i_align(
        file->max_plane_scratch + (ETZ_MAX_PLANES + 1) * ((uint64_t)file->dest_alignment - 1), region->alignment);
    context->planes = take(region, context->planes_step * batch_blocks);
    context->constants = take(region, ETZ_MAX_PLANES * ETZ_I_CONSTANT_RUN);
    context->jobs = take(region, sizeof(etz_job) * (uint64_t)batch_blocks);
    context->streams = take(region, sizeof(etz_stream) * ETZ_MAX_PLANES * (uint64_t)batch_blocks);
    return take_workspaces(region, context);
}

etz_status etz_memory_needed(const etz_file *file, uint32_t batch_blocks, etz_memory *memory)
{
    carver region;
    etz_context unused;
    region.base = 0;
    const etz_status status = carve(&region, &unused, file, batch_blocks);
    if (status)
        return status;
    memory->size = (size_t)region.used;
    memory->alignment = (size_t)region.alignment;
    return ETZ_OK;
}

etz_status etz_context_init(etz_context *context, const etz_file *file, uint32_t batch_blocks, void *base, size_t size)
{
    carver region;
    region.base = 0;
    etz_status status = carve(&region, context, file, batch_blocks);
    if (status)
        return status;
    region.base = (uintptr_t)base;
    if (!base || size < region.used || (region.base & (uintptr_t)(region.alignment - 1)))
        return ETZ_MEMORY;
    status = carve(&region, context, file, batch_blocks);
    return status ? status : etz_i_check_extents(context);
}

/* Whether a block can be decoded to this address: decoders may want it aligned. */
static int takes_whole_blocks(const etz_file *file, const etz_block *block, const uint8_t *dest)
{
    return block->filter != ETZ_FILTER_NONE || block->codec <= ETZ_CODEC_CONSTANT
        || ((uintptr_t)dest & (file->dest_alignment - 1)) == 0;
}

static etz_status read_range(etz_context *context, uint64_t offset, uint8_t *dest, size_t size)
{
    uint32_t waiting = 0;
    while (size) {
        etz_job *job = &context->jobs[waiting];
        const etz_block *block = &job->block;
        etz_status status = etz_find_block(context, offset, &job->block);
        if (status)
            return status;
        const uint64_t start = offset - block->content_offset, rest = block->content_size - start;
        const size_t here = size < rest ? size : (size_t)rest;
        if (block->number == ETZ_NO_BLOCK) {
            memset(dest, 0, here);
        } else {
            const int kept = block->number == context->kept_block;
            const int whole = !kept && here == block->content_size && takes_whole_blocks(context->file, block, dest);
            if (!kept) {
                job->dest = dest;
                waiting++;
                if (!whole) {
                    job->dest = context->block;
                    context->kept_block = ETZ_NO_BLOCK;
                }
                if (!whole || waiting == context->batch_blocks) {
                    if ((status = etz_i_decode(context, waiting)) != ETZ_OK)
                        return status;
                    waiting = 0;
                }
            }
            if (!whole) {
                context->kept_block = block->number;
                memcpy(dest, context->block + start, here);
            }
        }
        offset += here;
        dest += here;
        size -= here;
    }
    return etz_i_decode(context, waiting);
}

etz_status etz_read(etz_context *context, uint64_t offset, void *dest, size_t size)
{
    const uint64_t content_size = context->file->content_size;
    if (offset > content_size || size > content_size - offset)
        return ETZ_RANGE;
    const etz_status status = read_range(context, offset, dest, size);
    if (status && size)
        memset(dest, 0, size);
    return status;
}
