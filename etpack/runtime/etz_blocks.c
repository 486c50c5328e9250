/* From the stored bytes of whole blocks to their content. */
#include <string.h>

#include "etz_internal.h"

/* Point the jobs at their stored bytes, which one read fetches if they lie side by side, as those of a batch mostly do. */
static etz_status fetch(etz_context *context, etz_job *jobs, uint32_t count)
{
    uint64_t start = UINT64_MAX, end = 0, sum = ETZ_PAGE_SIZE;
    for (uint32_t i = 0; i < count; i++) {
        const etz_block *block = &jobs[i].block;
        if (!block->stored_size)
            continue;
        sum += block->stored_size;
        if (block->stored_offset < start)
            start = block->stored_offset;
        if (block->stored_offset + block->stored_size > end)
            end = block->stored_offset + block->stored_size;
    }
    /* In memory there is no room, so each is taken where it is. Some padding may be read along. */
    const uint64_t size = end - start;
    const int at_once = end && size <= sum && size <= (uint64_t)context->stored_room * count;
    const uint8_t *stored = at_once ? etz_i_fetch(context, start, (size_t)size, context->stored) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        const etz_block *block = &jobs[i].block;
        if (!block->stored_size)
            continue;
        if (!at_once)
            stored = etz_i_fetch(context, block->stored_offset, block->stored_size,
                                 context->stored + (size_t)context->stored_room * i);
        if (!stored)
            return ETZ_IO;
        jobs[i].stored = at_once ? stored + (size_t)(block->stored_offset - start) : stored;
    }
    return ETZ_OK;
}

/* Whether the reader transposes what the decoder gives. */
static int is_transposed(const etz_file *file, uint32_t codec)
{
    return file->codecs[codec] == ETZ_CODEC_LZ4_BITPLANES && file->decoders[codec]->codec != ETZ_CODEC_LZ4_BITPLANES;
}

static int is_coded(const etz_i_plane *plane)
{
    return plane->codec < ETZ_MAX_CODECS;
}

/* Cut the stored bytes of a block with a filter into streams. Codec ids are left as they are in the file. */
static etz_status parse_directory(const etz_file *file, etz_job *job)
{
    const uint8_t *stored = job->stored;
    const uint32_t stored_size = job->block.stored_size, alignment = UINT32_C(1) << file->alignment_log2;
    uint32_t position = job->plane_count * ETZ_DIRECTORY_ROW_SIZE;
    if (!job->plane_size || stored_size < position)
        return ETZ_CORRUPT;
    for (uint32_t k = 0; k < job->plane_count; k++) {
        etz_i_plane *plane = &job->planes[k];
        const uint32_t row = etz_i_u32(stored + k * ETZ_DIRECTORY_ROW_SIZE), size = row & 0xFFFFFF;
        plane->codec = row >> 24;
        plane->stream_size = size;
        if (plane->codec == ETZ_CODEC_CONSTANT) {
            if (size > UINT8_MAX)
                return ETZ_CORRUPT;
            continue;
        }
        if (plane->codec == ETZ_CODEC_RAW ? size != job->plane_size : !size || size >= job->plane_size)
            return ETZ_CORRUPT;
        const uint32_t start = (uint32_t)etz_i_align(position, alignment);
        if (plane->codec == ETZ_CODEC_DIRECTORY || start > stored_size || size > stored_size - start)
            return ETZ_CORRUPT;
        for (; position < start; position++)
            if (stored[position])
                return ETZ_CORRUPT;
        plane->stream = stored + start;
        position = start + size;
    }
    const uint32_t tail = (uint32_t)job->block.content_size - job->plane_size * job->plane_count;
    return stored_size - position == tail ? ETZ_OK : ETZ_CORRUPT;
}

/* Replace a codec id by its number among those of the file. */
static etz_status resolve_codec(const etz_file *file, etz_i_plane *plane)
{
    const uint32_t id = plane->codec;
    if (id <= ETZ_CODEC_CONSTANT) {
        plane->codec = ETZ_I_RAW + id;
        return ETZ_OK;
    }
    unsigned i = 0;
    while (i < ETZ_MAX_CODECS && file->codecs[i] != id)
        i++;
    plane->codec = i;
    if (i < ETZ_MAX_CODECS && file->decoders[i])
        return ETZ_OK;
    if (id > ETZ_CODEC_LZ4_BITPLANES && id < ETZ_CODEC_FIRST_PRIVATE)
        return ETZ_UNSUPPORTED;
    /* One that the footer does not name has no workspace. */
    return i < ETZ_MAX_CODECS ? ETZ_CODEC_MISSING : ETZ_CORRUPT;
}

/* Give each plane that has a codec its place to be decoded to. */
static etz_status place_planes(const etz_file *file, etz_job *job, uint8_t *scratch)
{
    const uint32_t step = (uint32_t)etz_i_align(job->plane_size, file->dest_alignment);
    uint64_t needed = 0;
    uint32_t rounds = 0, bits = 0;
    job->run = job->plane_size;
    for (uint32_t k = 0; k < job->plane_count; k++) {
        etz_i_plane *plane = &job->planes[k];
        const etz_status status = resolve_codec(file, plane);
        if (status)
            return status;
        plane->round = 0;
        if (plane->codec == ETZ_I_CONSTANT)
            job->run = ETZ_I_CONSTANT_RUN;
        if (!is_coded(plane))
            continue;
        if (file->codecs[plane->codec] == ETZ_CODEC_LZ4_BITPLANES)
            bits = (uint32_t)etz_i_align(job->plane_size, 8);
        if (is_transposed(file, plane->codec))
            plane->round = rounds++;
        plane->dest = job->dest;
        if (job->plane_count > 1) {
            plane->dest = scratch;
            scratch += step;
            needed += job->plane_size;
        }
        /* Before the next place is made. */
        if (needed + bits > file->max_plane_scratch)
            return ETZ_CORRUPT;
    }
    job->bits = scratch;
    return ETZ_OK;
}

/* Check the stored bytes, and find out what is to be done with them. */
static etz_status prepare(etz_context *context, etz_job *job, uint8_t *scratch)
{
    const etz_file *file = context->file;
    const etz_block *block = &job->block;
    if (block->stored_size && file->kernels->crc32c(0, job->stored, block->stored_size) != block->crc)
        return ETZ_CORRUPT;
    const uint32_t width_log2 = (block->filter + 1u) / 2;
    job->plane_count = UINT32_C(1) << width_log2;
    job->plane_size = (uint32_t)block->content_size >> width_log2;
    if (block->filter == ETZ_FILTER_NONE) {
        job->planes[0].codec = block->codec;
        job->planes[0].stream = job->stored;
        job->planes[0].stream_size = block->codec == ETZ_CODEC_CONSTANT ? (uint32_t)block->stored_offset : block->stored_size;
    } else {
        const etz_status status = parse_directory(file, job);
        if (status)
            return status;
    }
    return place_planes(file, job, scratch);
}

/* Gather the streams of one codec and round; or, when they are decoded, transpose what they gave. Returns how many there are. */
static size_t visit(etz_context *context, uint32_t count, uint32_t codec, uint32_t round, int transposed, int decoded)
{
    size_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const etz_job *job = &context->jobs[i];
        for (uint32_t k = 0; k < job->plane_count; k++) {
            const etz_i_plane *plane = &job->planes[k];
            if (plane->codec != codec || plane->round != round)
                continue;
            etz_stream *stream = &context->streams[found++];
            if (decoded) {
                context->file->kernels->from_bitplanes(plane->dest, job->bits, job->plane_size);
                continue;
            }
            stream->stored = plane->stream;
            stream->stored_size = plane->stream_size;
            stream->dest = transposed ? job->bits : plane->dest;
            stream->size = transposed ? (uint32_t)etz_i_align(job->plane_size, 8) : job->plane_size;
        }
    }
    return found;
}

/* Decode all streams of one codec: in one call, or in rounds if the bits of a block's planes use one place in turn. */
static etz_status decode_streams(etz_context *context, uint32_t count, uint32_t codec)
{
    const etz_decoder *decoder = context->file->decoders[codec];
    const int transposed = is_transposed(context->file, codec);
    size_t streams;
    for (uint32_t round = 0; (streams = visit(context, count, codec, round, transposed, 0)) != 0; round++) {
        context->counters.decoder_calls++;
        context->counters.streams_decoded += streams;
        const etz_status status =
            decoder->decode(decoder->user, context->workspaces[codec], context->streams, streams);
        if (status)
            return status;
        if (transposed)
            visit(context, count, codec, round, transposed, 1);
    }
    return ETZ_OK;
}

/* Merge planes, in runs if one of them is constant, for which a few bytes stand. */
static void merge(const etz_context *context, const etz_job *job)
{
    const uint8_t *planes[ETZ_MAX_PLANES];
    const uint32_t count = job->plane_count;
    for (uint32_t done = 0; done < job->plane_size; done += job->run) {
        const uint32_t rest = job->plane_size - done;
        for (uint32_t k = 0; k < count; k++) {
            const etz_i_plane *plane = &job->planes[k];
            uint8_t *constant = context->constants + k * ETZ_I_CONSTANT_RUN;
            if (plane->codec == ETZ_I_CONSTANT)
                planes[k] = memset(constant, (int)plane->stream_size, ETZ_I_CONSTANT_RUN);
            else
                planes[k] = (is_coded(plane) ? plane->dest : plane->stream) + done;
        }
        context->file->kernels->merge(job->dest + (size_t)done * count, planes, rest < job->run ? rest : job->run, count,
                                      job->block.filter % 2 == 0);
    }
}

/* Do what is left when the streams of a block are decoded. */
static void finish(const etz_context *context, const etz_job *job)
{
    const size_t size = (size_t)job->block.content_size;
    if (job->block.filter != ETZ_FILTER_NONE) {
        const size_t tail = size - (size_t)job->plane_size * job->plane_count;
        merge(context, job);
        memcpy(job->dest + size - tail, job->stored + job->block.stored_size - tail, tail);
    } else if (job->planes[0].codec == ETZ_I_RAW) {
        memcpy(job->dest, job->stored, size);
    } else if (job->planes[0].codec == ETZ_I_CONSTANT) {
        memset(job->dest, (int)job->planes[0].stream_size, size);
    }
}

etz_status etz_i_decode(etz_context *context, uint32_t count)
{
    etz_job *jobs = context->jobs;
    etz_status status = fetch(context, jobs, count);
    for (uint32_t i = 0; !status && i < count; i++)
        status = prepare(context, &jobs[i], context->planes + (size_t)context->planes_step * i);
    for (uint32_t codec = 0; !status && codec < ETZ_MAX_CODECS; codec++)
        if (context->file->decoders[codec])
            status = decode_streams(context, count, codec);
    if (status)
        return status;
    for (uint32_t i = 0; i < count; i++)
        finish(context, &jobs[i]);
    context->counters.blocks_decoded += count;
    return ETZ_OK;
}
