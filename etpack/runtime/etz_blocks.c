/* From the stored bytes of whole blocks to their content. */
#include <string.h>

#include "etz_internal.h"

/* Point the jobs at their stored bytes, which one read fetches if they lie side by side, as those of a batch mostly do. */
static etz_status fetch(etz_context *context, const etz_job *last, uint32_t count)
{
    uint64_t start = UINT64_MAX, end = 0, sum = ETZ_PAGE_SIZE;
    const uint8_t *stored = NULL;
    uint8_t *room = context->stored;
    for (const etz_job *job = context->jobs; job < last; job++) {
        const uint64_t offset = job->block.stored_offset, size = job->block.stored_size;
        if (!size)
            continue;
        sum += size;
        if (offset < start)
            start = offset;
        if (offset + size > end)
            end = offset + size;
    }
    /* In memory there is no room, so each is taken where it is. Some padding may be read along. */
    const int at_once = end && end - start <= sum && end - start <= context->stored_room * count;
    if (at_once)
        stored = etz_i_fetch(context, start, (size_t)(end - start), room);
    for (etz_job *job = context->jobs; job < last; job++) {
        const etz_block *block = &job->block;
        if (!block->stored_size)
            continue;
        if (!at_once) {
            start = block->stored_offset;
            stored = etz_i_fetch(context, start, block->stored_size, room);
            room += context->stored_room;
        }
        if (!stored)
            return ETZ_IO;
        job->stored = stored + (size_t)(block->stored_offset - start);
    }
    return ETZ_OK;
}

/* Find a plane's codec among those of the file. */
static etz_status resolve_codec(const etz_file *file, uint32_t id, etz_i_plane *plane)
{
    /* One that the footer does not name has no workspace. */
    etz_status status = ETZ_CORRUPT;
    for (uint32_t i = 0; i < ETZ_MAX_CODECS; i++) {
        if (file->codecs[i] != id)
            continue;
        plane->codec = i;
        status = file->decoders[i] ? ETZ_OK : ETZ_CODEC_MISSING;
    }
    return status && id > ETZ_CODEC_LZ4_BITPLANES && id < ETZ_CODEC_FIRST_PRIVATE ? ETZ_UNSUPPORTED : status;
}

/* Point a plane at its stream, which begins at the next multiple of the alignment, with zeros before it. */
static int cut_stream(const etz_job *job, etz_i_plane *plane, uint32_t alignment, uint32_t *position)
{
    const uint32_t start = (*position + alignment - 1) & ~(alignment - 1);
    if (start > job->block.stored_size || plane->stream_size > job->block.stored_size - start)
        return 0;
    for (uint32_t i = *position; i < start; i++)
        if (job->stored[i])
            return 0;
    plane->stream = job->stored + start;
    *position = start + plane->stream_size;
    return 1;
}

/* Check the stored bytes of a block and cut them into streams, and give each plane that has a codec its place to be decoded to. */
static etz_status prepare(etz_context *context, etz_job *job, uint8_t *scratch)
{
    const etz_file *file = context->file;
    const etz_block *block = &job->block;
    const uint8_t *stored = job->stored;
    const uint32_t stored_size = block->stored_size, width_log2 = (block->filter + 1u) / 2;
    const uint32_t plane_count = UINT32_C(1) << width_log2, plane_size = (uint32_t)block->content_size >> width_log2;
    uint32_t position = block->filter ? plane_count * ETZ_DIRECTORY_ROW_SIZE : 0, needed = 0, bits = 0;
    if (stored_size && file->kernels->crc32c(0, stored, stored_size) != block->crc)
        return ETZ_CORRUPT;
    if (!plane_size || stored_size < position)
        return ETZ_CORRUPT;
    job->plane_count = plane_count;
    job->transposed = 0;
    job->run = job->plane_size = plane_size;
    for (etz_i_plane *plane = job->planes; plane < job->planes + plane_count; plane++) {
        uint32_t id = block->codec, size = stored_size;
        plane->value = (uint32_t)block->stored_offset;
        if (block->filter) {
            const uint32_t row = etz_i_u32(stored + (plane - job->planes) * ETZ_DIRECTORY_ROW_SIZE);
            id = row >> 24;
            size = plane->value = row & 0xFFFFFF;
        }
        if (id == ETZ_CODEC_CONSTANT) {
            if (plane->value > UINT8_MAX)
                return ETZ_CORRUPT;
            plane->codec = ETZ_I_CONSTANT;
            job->run = ETZ_I_CONSTANT_RUN;
            continue;
        }
        plane->stream_size = size;
        if (!cut_stream(job, plane, UINT32_C(1) << file->alignment_log2, &position))
            return ETZ_CORRUPT;
        plane->codec = ETZ_I_RAW;
        if (id == ETZ_CODEC_RAW ? size != plane_size : !size || size >= plane_size)
            return ETZ_CORRUPT;
        if (id == ETZ_CODEC_RAW)
            continue;
        const etz_status status = resolve_codec(file, id, plane);
        if (status)
            return status;
        if (id == ETZ_CODEC_LZ4_BITPLANES)
            bits = (plane_size + 7) & ~UINT32_C(7);
        plane->dest = job->dest;
        if (plane_count > 1) {
            plane->dest = scratch;
            scratch += etz_i_align(plane_size, file->dest_alignment);
            needed += plane_size;
        }
        /* Before the next place is made. */
        if (needed + bits > file->max_plane_scratch)
            return ETZ_CORRUPT;
    }
    job->bits = scratch;
    return stored_size - position == (uint32_t)block->content_size - plane_size * plane_count ? ETZ_OK : ETZ_CORRUPT;
}

/* Decode all streams of one codec: in one call; or, if the reader transposes what they give, one of each block in each call, since a
 * block has one place for bits. */
static etz_status decode_streams(etz_context *context, const etz_job *end, uint32_t codec)
{
    const etz_file *file = context->file;
    const etz_decoder *decoder = file->decoders[codec];
    const int transposed = file->codecs[codec] == ETZ_CODEC_LZ4_BITPLANES && decoder->codec != ETZ_CODEC_LZ4_BITPLANES;
    for (;;) {
        etz_stream *stream = context->streams;
        size_t streams = 0;
        for (etz_job *job = context->jobs; job < end; job++) {
            /* What the last call left there, before this one. */
            if (job->transposed)
                file->kernels->from_bitplanes(job->planes[job->transposed - 1].dest, job->bits, job->plane_size);
            job->transposed = 0;
            for (uint32_t k = 0; k < job->plane_count && !job->transposed; k++) {
                etz_i_plane *plane = &job->planes[k];
                if (plane->codec != codec)
                    continue;
                stream->stored = plane->stream;
                stream->stored_size = plane->stream_size;
                stream->dest = plane->dest;
                stream->size = job->plane_size;
                if (transposed) {
                    stream->dest = job->bits;
                    stream->size = (job->plane_size + 7) & ~UINT32_C(7);
                    job->transposed = k + 1;
                }
                plane->stream = plane->dest;
                plane->codec = ETZ_I_RAW;
                stream++;
                streams++;
            }
        }
        if (!streams)
            return ETZ_OK;
        context->counters.decoder_calls++;
        context->counters.streams_decoded += streams;
        const etz_status status =
            decoder->decode(decoder->user, context->workspaces[codec], context->streams, streams);
        if (status)
            return status;
    }
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
                planes[k] = memset(constant, (int)plane->value, ETZ_I_CONSTANT_RUN);
            else
                planes[k] = plane->stream + done;
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
    } else if (job->block.codec == ETZ_CODEC_RAW) {
        memcpy(job->dest, job->stored, size);
    } else if (job->block.codec == ETZ_CODEC_CONSTANT) {
        memset(job->dest, (int)job->planes[0].value, size);
    }
}

etz_status etz_i_decode(etz_context *context, uint32_t count)
{
    etz_job *const end = context->jobs + count;
    uint8_t *scratch = context->planes;
    etz_status status = fetch(context, end, count);
    for (etz_job *job = context->jobs; !status && job < end; job++) {
        status = prepare(context, job, scratch);
        scratch += context->planes_step;
    }
    for (uint32_t codec = 0; !status && codec < ETZ_MAX_CODECS; codec++)
        if (context->file->decoders[codec])
            status = decode_streams(context, end, codec);
    if (status)
        return status;
    for (etz_job *job = context->jobs; job < end; job++)
        finish(context, job);
    context->counters.blocks_decoded += count;
    return ETZ_OK;
}
