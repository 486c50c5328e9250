/* A context: its memory, and reading ranges with it. */
#include <string.h>

#include "etz_internal.h"

const char *etz_status_slug(etz_status status)
{
    switch (status) {
    case ETZ_OK: return "ok";
    case ETZ_NOT_ETZ: return "not-etz";
    case ETZ_TRUNCATED: return "truncated";
    case ETZ_CORRUPT: return "corrupt";
    case ETZ_UNSUPPORTED: return "unsupported";
    case ETZ_CODEC_MISSING: return "codec-missing";
    case ETZ_LIMIT: return "limit";
    case ETZ_IO: return "io";
    case ETZ_RANGE: return "range";
    case ETZ_MEMORY: return "memory";
    }
    return "unknown";
}

/* The parts of a region: their offsets, and the sizes that are used again. 64 bits hold every sum: a batch has less than
 * 2^16 blocks of less than 2^33 bytes each, and a decoder's size_t is checked. */
typedef struct layout {
    uint64_t alignment;
    uint64_t stored;
    uint64_t stored_size;
    uint64_t planes;
    uint64_t planes_step;
    uint64_t constants;
    uint64_t index;
    uint64_t extents;
    uint64_t jobs;
    uint64_t streams;
    uint64_t workspaces[ETZ_MAX_CODECS];
    uint64_t workspace_sizes[ETZ_MAX_CODECS];
    uint64_t size;
} layout;

static uint64_t take(layout *parts, uint64_t size)
{
    const uint64_t offset = parts->size;
    parts->size = etz_i_align(offset + size, parts->alignment);
    return offset;
}

static uint64_t page_room(const etz_table *table)
{
    return table->rows ? etz_i_page_size(table, 0) : 0;
}

static uint64_t scratch_block_size(const etz_file *file)
{
    const uint64_t block_size = UINT64_C(1) << file->block_size_log2;
    return file->content_size < block_size ? file->content_size : block_size;
}

/* The number of the codec whose workspace this one uses too: LZ4 serves two. */
static unsigned workspace_owner(const etz_file *file, unsigned codec)
{
    unsigned owner = 0;
    while (file->decoders[owner] != file->decoders[codec])
        owner++;
    return owner;
}

static etz_status lay_out(const etz_file *file, uint32_t batch_blocks, layout *parts)
{
    const uint64_t largest = etz_i_align(UINT64_C(1) << file->block_size_log2, 8);
    if (!batch_blocks || batch_blocks > ETZ_I_MAX_BATCH)
        return ETZ_MEMORY;
    memset(parts, 0, sizeof *parts);
    parts->alignment = ETZ_I_ALIGNMENT;
    if (file->stream_alignment > parts->alignment)
        parts->alignment = file->stream_alignment;
    if (file->dest_alignment > parts->alignment)
        parts->alignment = file->dest_alignment;
    take(parts, scratch_block_size(file));
    if (file->source.read_at) {
        parts->stored_size = etz_i_align(file->max_stored_block, file->stream_alignment) * batch_blocks;
        parts->stored = take(parts, parts->stored_size);
        parts->index = take(parts, page_room(&file->index));
        parts->extents = take(parts, page_room(&file->extents));
    }
    if (file->max_plane_scratch) {
        const uint64_t padding = (ETZ_MAX_PLANES + 1) * ((uint64_t)file->dest_alignment - 1);
        parts->planes_step = etz_i_align(file->max_plane_scratch + padding, parts->alignment);
        parts->planes = take(parts, parts->planes_step * batch_blocks);
    }
    parts->constants = take(parts, ETZ_MAX_PLANES * ETZ_I_CONSTANT_RUN);
    parts->jobs = take(parts, sizeof(etz_job) * (uint64_t)batch_blocks);
    parts->streams = take(parts, sizeof(etz_stream) * ETZ_MAX_PLANES * (uint64_t)batch_blocks);
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        const etz_decoder *decoder = file->decoders[i];
        if (!decoder || !decoder->workspace_size || workspace_owner(file, i) != i)
            continue;
        const size_t size =
            decoder->workspace_size(decoder->user, (uint32_t)largest, batch_blocks * ETZ_MAX_PLANES);
        if (size > SIZE_MAX / 2)
            return ETZ_LIMIT;
        parts->workspace_sizes[i] = size;
        parts->workspaces[i] = take(parts, size);
    }
    return parts->size > SIZE_MAX / 2 ? ETZ_LIMIT : ETZ_OK;
}

etz_status etz_memory_needed(const etz_file *file, uint32_t batch_blocks, etz_memory *memory)
{
    layout parts;
    const etz_status status = lay_out(file, batch_blocks, &parts);
    if (!status) {
        memory->size = (size_t)parts.size;
        memory->alignment = (size_t)parts.alignment;
    }
    return status;
}

static etz_status prepare_decoders(etz_context *context, const layout *parts, uint8_t *base)
{
    const etz_file *file = context->file;
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        const etz_decoder *decoder = file->decoders[i];
        if (!decoder)
            continue;
        const unsigned owner = workspace_owner(file, i);
        context->workspaces[i] = parts->workspace_sizes[owner] ? base + parts->workspaces[owner] : NULL;
        if (!decoder->prepare || owner != i)
            continue;
        const etz_status status =
            decoder->prepare(decoder->user, context->workspaces[i], (size_t)parts->workspace_sizes[i]);
        if (status)
            return status;
    }
    return ETZ_OK;
}

etz_status etz_context_init(etz_context *context, const etz_file *file, uint32_t batch_blocks, void *region, size_t size)
{
    layout parts;
    uint8_t *base = region;
    const etz_status status = lay_out(file, batch_blocks, &parts);
    if (status)
        return status;
    if (size < parts.size || ((uintptr_t)region & (parts.alignment - 1)))
        return ETZ_MEMORY;
    memset(context, 0, sizeof *context);
    context->file = file;
    context->batch_blocks = batch_blocks;
    context->kept_block = ETZ_NO_BLOCK;
    context->block = base;
    if (file->source.read_at) {
        context->stored = base + parts.stored;
        context->stored_capacity = (size_t)parts.stored_size;
        context->index.buffer = base + parts.index;
        context->extents.buffer = base + parts.extents;
    }
    context->planes = base + parts.planes;
    context->planes_step = (size_t)parts.planes_step;
    context->constants = base + parts.constants;
    context->index.number = context->extents.number = UINT32_MAX;
    context->jobs = (etz_job *)(void *)(base + parts.jobs);
    context->streams = (etz_stream *)(void *)(base + parts.streams);
    return prepare_decoders(context, &parts, base);
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
