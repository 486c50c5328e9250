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

static uint8_t *take_page(carver *region, const etz_table *table)
{
    return take(region, table->rows ? etz_i_page_size(table, 0) : 0);
}

/* Give each codec's decoder its workspace, and let it prepare that if it is there; the two codecs that LZ4 may serve share one. */
static etz_status take_workspaces(carver *region, etz_context *context)
{
    const etz_file *file = context->file;
    etz_status status = ETZ_OK;
    for (unsigned i = 0; !status && i < ETZ_MAX_CODECS; i++) {
        const etz_decoder *decoder = file->decoders[i];
        if (!decoder)
            continue;
        if (i > 0 && file->decoders[i - 1] == decoder) {
            context->workspaces[i] = context->workspaces[i - 1];
            continue;
        }
        size_t size = 0;
        if (decoder->workspace_size)
            size = decoder->workspace_size(decoder->user, UINT32_C(1) << file->block_size_log2,
                                           context->batch_blocks * ETZ_MAX_PLANES);
        if (size > SIZE_MAX / 2)
            return ETZ_LIMIT;
        if (size)
            context->workspaces[i] = take(region, size);
        if (region->base && decoder->prepare)
            status = decoder->prepare(decoder->user, context->workspaces[i], size);
    }
    return status;
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
    context->index.number = context->extents.number = UINT32_MAX;
    region->used = 0;
    /* All are powers of two. */
    region->alignment = ETZ_I_ALIGNMENT;
    if (file->stream_alignment > region->alignment)
        region->alignment = file->stream_alignment;
    if (file->dest_alignment > region->alignment)
        region->alignment = file->dest_alignment;
    context->stored = context->block = take(region, file->content_size < block_size ? file->content_size : block_size);
    if (file->source.read_at) {
        context->stored_room = etz_i_align(file->max_stored_block, file->stream_alignment);
        context->stored = take(region, context->stored_room * batch_blocks);
        context->index.buffer = take_page(region, &file->index);
        context->extents.buffer = take_page(region, &file->extents);
    }
    /* Planes, and at last the bits of one, may each be aligned. */
    context->planes_step = etz_i_align(
        file->max_plane_scratch + (ETZ_MAX_PLANES + 1) * ((uint64_t)file->dest_alignment - 1), region->alignment);
    context->planes = take(region, context->planes_step * batch_blocks);
    context->constants = take(region, ETZ_MAX_PLANES * ETZ_I_CONSTANT_RUN);
    context->jobs = take(region, sizeof(etz_job) * (uint64_t)batch_blocks);
    context->streams = take(region, sizeof(etz_stream) * ETZ_MAX_PLANES * (uint64_t)batch_blocks);
    const etz_status status = take_workspaces(region, context);
    return !status && region->used > SIZE_MAX / 2 ? ETZ_LIMIT : status;
}

etz_status etz_memory_needed(const etz_file *file, uint32_t batch_blocks, etz_memory *memory)
{
    carver region = {0, 0, 0};
    etz_context unused;
    const etz_status status = carve(&region, &unused, file, batch_blocks);
    memory->size = (size_t)region.used;
    memory->alignment = (size_t)region.alignment;
    return status;
}

etz_status etz_context_init(etz_context *context, const etz_file *file, uint32_t batch_blocks, void *base, size_t size)
{
    carver region = {(uintptr_t)base, 0, 0};
    etz_memory memory;
    etz_status status = etz_memory_needed(file, batch_blocks, &memory);
    if (!status && (!base || size < memory.size || (region.base & (memory.alignment - 1))))
        status = ETZ_MEMORY;
    if (!status)
        status = carve(&region, context, file, batch_blocks);
    return status ? status : etz_i_check_extents(context);
}

/* Whether a block can be decoded to this address: decoders may want it aligned. */
static int takes_whole_blocks(const etz_file *file, const etz_block *block, const uint8_t *dest)
{
    return block->filter != ETZ_FILTER_NONE || block->codec <= ETZ_CODEC_CONSTANT
        || ((uintptr_t)dest & (file->dest_alignment - 1)) == 0;
}

/* Make the scratch block hold this one. */
static etz_status keep(etz_context *context, const etz_block *block)
{
    context->kept_block = ETZ_NO_BLOCK;
    context->jobs[0].block = *block;
    context->jobs[0].dest = context->block;
    const etz_status status = etz_i_decode(context, 1);
    if (!status)
        context->kept_block = block->number;
    return status;
}

static etz_status read_range(etz_context *context, uint64_t offset, uint8_t *dest, size_t size)
{
    const uint64_t end = offset + size;
    uint32_t waiting = 0;
    etz_status status = ETZ_OK;
    while (!status && offset < end) {
        etz_block block;
        if ((status = etz_find_block(context, offset, &block)) != ETZ_OK)
            break;
        const uint64_t start = offset - block.content_offset, rest = block.content_size - start;
        const size_t here = (size_t)(end - offset < rest ? end - offset : rest);
        const int kept = block.number == context->kept_block;
        if (block.number == ETZ_NO_BLOCK) {
            memset(dest, 0, here);
        } else if (!kept && here == block.content_size && takes_whole_blocks(context->file, &block, dest)) {
            context->jobs[waiting].block = block;
            context->jobs[waiting].dest = dest;
            if (++waiting == context->batch_blocks) {
                status = etz_i_decode(context, waiting);
                waiting = 0;
            }
        } else {
            /* The scratch block is filled by way of the first job. */
            if (!kept && waiting)
                status = etz_i_decode(context, waiting);
            if (!kept)
                waiting = 0;
            if (!kept && !status)
                status = keep(context, &block);
            if (!status)
                memcpy(dest, context->block + start, here);
        }
        offset += here;
        dest += here;
    }
    return status || !waiting ? status : etz_i_decode(context, waiting);
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
