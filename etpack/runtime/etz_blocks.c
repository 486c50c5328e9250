/* From the stored bytes of whole blocks to their content. */
#include <string.h>

#include "etz_internal.h"

/* Point the jobs at their stored bytes; blocks that adjoin in the file are read with one call where they fit. */
static etz_status fetch(etz_context *context, etz_job *jobs, uint32_t count)
{
    const etz_file *file = context->file;
    const uint64_t room = etz_i_align(file->max_stored_block, file->stream_alignment);
    uint64_t used = 0;
    uint32_t next;
    for (uint32_t first = 0; first < count; first = next) {
        const uint64_t start = jobs[first].block.stored_offset;
        uint64_t end = start + jobs[first].block.stored_size;
        next = first + 1;
        if (!jobs[first].block.stored_size)
            continue;
        /* Each block has `room` bytes, which those before it may leave to it; small gaps are read along. */
        for (; context->stored && next < count; next++) {
            const etz_block *block = &jobs[next].block;
            const uint64_t gap = block->stored_offset - end, longer = block->stored_offset + block->stored_size - start;
            if (!block->stored_size || block->stored_offset < end || gap >= ETZ_PAGE_SIZE)
                break;
            if (etz_i_align(used + longer, file->stream_alignment) > (next + 1) * room)
                break;
            end = block->stored_offset + block->stored_size;
        }
        const uint8_t *stored =
            etz_i_fetch(context, start, (size_t)(end - start), context->stored ? context->stored + used : NULL);
        if (!stored)
            return ETZ_IO;
        for (uint32_t i = first; i < next; i++)
            jobs[i].stored = stored + (jobs[i].block.stored_offset - start);
        used = etz_i_align(used + (end - start), file->stream_alignment);
    }
    return ETZ_OK;
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
    const uint32_t codec = plane->codec;
    if (codec <= ETZ_CODEC_CONSTANT) {
        plane->codec = codec == ETZ_CODEC_RAW ? ETZ_I_RAW : ETZ_I_CONSTANT;
        return ETZ_OK;
    }
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        if (file->codecs[i] == codec && file->decoders[i]) {
            plane->codec = i;
            return ETZ_OK;
        }
        if (file->codecs[i] == codec)
            return codec > ETZ_CODEC_LZ4_BITPLANES && codec < ETZ_CODEC_FIRST_PRIVATE ? ETZ_UNSUPPORTED : ETZ_CODEC_MISSING;
    }
    /* A codec that the footer does not name: no workspace was made for it. */
    return codec > ETZ_CODEC_LZ4_BITPLANES && codec < ETZ_CODEC_FIRST_PRIVATE ? ETZ_UNSUPPORTED : ETZ_CORRUPT;
}

/* Whether the reader transposes what the decoder gives. */
static int is_transposed(const etz_file *file, uint32_t codec)
{
    return file->codecs[codec] == ETZ_CODEC_LZ4_BITPLANES && file->decoders[codec]->codec != ETZ_CODEC_LZ4_BITPLANES;
}

/* Give each plane that has a codec its place to be decoded to. */
static etz_status place_planes(const etz_file *file, etz_job *job, uint8_t *scratch)
{
    const uint32_t step = (uint32_t)etz_i_align(job->plane_size, file->dest_alignment);
    uint64_t needed = 0;
    int transposed = 0;
    for (uint32_t k = 0; k < job->plane_count; k++) {
        etz_i_plane *plane = &job->planes[k];
        const etz_status status = resolve_codec(file, plane);
        if (status)
            return status;
        if (!is_coded(plane))
            continue;
        transposed |= file->codecs[plane->codec] == ETZ_CODEC_LZ4_BITPLANES;
        if (job->plane_count == 1) {
            plane->dest = job->dest;
            continue;
        }
        plane->dest = scratch;
        needed += job->plane_size;
        if (needed > file->max_plane_scratch)
            return ETZ_CORRUPT;
        scratch += step;
    }
    job->bits = scratch;
    if (transposed)
        needed += etz_i_align(job->plane_size, 8);
    return needed > file->max_plane_scratch ? ETZ_CORRUPT : ETZ_OK;
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

/* Gather the streams of one codec; of those that the reader transposes, the n-th of each block. */
static size_t gather(etz_context *context, const etz_job *jobs, uint32_t count, uint32_t codec, uint32_t turn)
{
    const int transposed = is_transposed(context->file, codec);
    size_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const etz_job *job = &jobs[i];
        uint32_t seen = 0;
        for (uint32_t k = 0; k < job->plane_count; k++) {
            const etz_i_plane *plane = &job->planes[k];
            if (plane->codec != codec || (transposed && seen++ != turn))
                continue;
            etz_stream *stream = &context->streams[found++];
            stream->stored = plane->stream;
            stream->stored_size = plane->stream_size;
            stream->dest = transposed ? job->bits : plane->dest;
            stream->size = transposed ? (uint32_t)etz_i_align(job->plane_size, 8) : job->plane_size;
        }
    }
    return found;
}

/* Transpose what the n-th such stream of each block gave. */
static void transpose(const etz_context *context, const etz_job *jobs, uint32_t count, uint32_t codec, uint32_t turn)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t seen = 0;
        for (uint32_t k = 0; k < jobs[i].plane_count; k++)
            if (jobs[i].planes[k].codec == codec && seen++ == turn)
                context->file->kernels->from_bitplanes(jobs[i].planes[k].dest, jobs[i].bits, jobs[i].plane_size);
    }
}

static etz_status decode_streams(etz_context *context, const etz_job *jobs, uint32_t count, uint32_t codec)
{
    const etz_decoder *decoder = context->file->decoders[codec];
    const int transposed = is_transposed(context->file, codec);
    for (uint32_t turn = 0; turn < ETZ_MAX_PLANES; turn++) {
        const size_t streams = gather(context, jobs, count, codec, turn);
        if (!streams)
            break;
        context->counters.decoder_calls++;
        context->counters.streams_decoded += streams;
        const etz_status status =
            decoder->decode(decoder->user, context->workspaces[codec], context->streams, streams);
        if (status)
            return status;
        if (!transposed)
            break;
        transpose(context, jobs, count, codec, turn);
    }
    return ETZ_OK;
}

/* Merge planes; a constant one is a few bytes that are used again and again. */
static void merge(const etz_context *context, const etz_job *job)
{
    const etz_kernels *kernels = context->file->kernels;
    const uint8_t *planes[ETZ_MAX_PLANES];
    uint32_t steps[ETZ_MAX_PLANES];
    uint32_t run = job->plane_size;
    for (uint32_t k = 0; k < job->plane_count; k++) {
        const etz_i_plane *plane = &job->planes[k];
        steps[k] = 1;
        if (plane->codec == ETZ_I_CONSTANT) {
            uint8_t *bytes = context->constants + k * ETZ_I_CONSTANT_RUN;
            memset(bytes, (int)plane->stream_size, ETZ_I_CONSTANT_RUN);
            planes[k] = bytes;
            steps[k] = 0;
            run = ETZ_I_CONSTANT_RUN;
        } else {
            planes[k] = is_coded(plane) ? plane->dest : plane->stream;
        }
    }
    const int rotated = job->block.filter % 2 == 0;
    for (uint32_t done = 0; done < job->plane_size; done += run) {
        const uint32_t here = job->plane_size - done < run ? job->plane_size - done : run;
        kernels->merge(job->dest + (size_t)done * job->plane_count, planes, here, job->plane_count, rotated);
        for (uint32_t k = 0; k < job->plane_count; k++)
            planes[k] += steps[k] * here;
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
    uint32_t used = 0;
    etz_status status = fetch(context, jobs, count);
    for (uint32_t i = 0; !status && i < count; i++) {
        status = prepare(context, &jobs[i], context->planes + i * context->planes_step);
        for (uint32_t k = 0; !status && k < jobs[i].plane_count; k++)
            used |= UINT32_C(1) << jobs[i].planes[k].codec;
    }
    for (uint32_t codec = 0; !status && codec < ETZ_MAX_CODECS; codec++)
        if (used >> codec & 1)
            status = decode_streams(context, jobs, count, codec);
    if (status)
        return status;
    for (uint32_t i = 0; i < count; i++)
        finish(context, &jobs[i]);
    context->counters.blocks_decoded += count;
    return ETZ_OK;
}
