/* Opening: header, footer, section table. The order of checks is section 2 of the specification. */
#include <string.h>

#include "etz_internal.h"

const uint8_t *etz_i_view(const etz_source *source, uint64_t offset, size_t size, uint8_t *buffer)
{
    if (!source->read_at)
        return source->memory + (size_t)offset;
    return source->read_at(source->user, offset, buffer, size) ? NULL : buffer;
}

/* Header or footer: where the magic, the version and the checksum lie. They keep their places in every version. */
typedef struct fixed_part {
    uint8_t magic[ETZ_MAGIC_SIZE];
    uint8_t magic_at;
    uint8_t crc_at;
    uint8_t version_at;
    /* etz_status where there is no magic. */
    uint8_t not_there;
} fixed_part;

static etz_status check_part(const etz_file *file, const fixed_part *part, const uint8_t *bytes, size_t size)
{
    if (!bytes)
        return ETZ_IO;
    if (etz_i_u64(bytes + part->magic_at) != etz_i_u64(part->magic))
        return (etz_status)part->not_there;
    if (size < ETZ_HEADER_SIZE)
        return ETZ_TRUNCATED;
    if (etz_i_u32(bytes + part->crc_at) != file->kernels->crc32c(0, bytes, part->crc_at))
        return ETZ_CORRUPT;
    return etz_i_u16(bytes + part->version_at) == ETZ_FORMAT_VERSION ? ETZ_OK : ETZ_UNSUPPORTED;
}

static etz_status check_header(const etz_file *file)
{
    static const fixed_part part = {ETZ_HEADER_MAGIC_BYTES, 0, ETZ_HEADER_CRC, ETZ_HEADER_VERSION, ETZ_NOT_ETZ};
    uint8_t buffer[ETZ_HEADER_SIZE];
    const size_t size = file->source.size < sizeof buffer ? (size_t)file->source.size : sizeof buffer;
    if (size < ETZ_MAGIC_SIZE)
        return ETZ_NOT_ETZ;
    const uint8_t *header = etz_i_view(&file->source, 0, size, buffer);
    const etz_status status = check_part(file, &part, header, size);
    return !status && etz_i_u16(header + ETZ_HEADER_RESERVED) ? ETZ_CORRUPT : status;
}

/* Ascending, then zeros, and only ids that need a decoder. */
static int codecs_are_in_order(const uint8_t *codecs)
{
    uint8_t last = ETZ_CODEC_CONSTANT;
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        if (codecs[i] && (codecs[i] <= last || codecs[i] == ETZ_CODEC_DIRECTORY))
            return 0;
        /* Behind a zero nothing is in order. */
        last = codecs[i] ? codecs[i] : UINT8_MAX;
    }
    return 1;
}

/* What the rest of opening needs of the footer and the file does not keep. */
typedef struct section_table {
    uint64_t end;
    uint32_t count;
    uint32_t crc;
} section_table;

static etz_status parse_footer(etz_file *file, section_table *table)
{
    static const fixed_part part = {ETZ_FOOTER_MAGIC_BYTES, ETZ_FOOTER_MAGIC, ETZ_FOOTER_CRC, ETZ_FOOTER_VERSION, ETZ_TRUNCATED};
    uint8_t buffer[ETZ_FOOTER_SIZE];
    if (file->source.size < ETZ_HEADER_SIZE + ETZ_FOOTER_SIZE)
        return ETZ_TRUNCATED;
    const uint64_t offset = file->source.size - ETZ_FOOTER_SIZE;
    const uint8_t *footer = etz_i_view(&file->source, offset, sizeof buffer, buffer);
    const etz_status status = check_part(file, &part, footer, sizeof buffer);
    if (status)
        return status;
    if (etz_i_u32(footer + ETZ_FOOTER_INCOMPAT))
        return ETZ_UNSUPPORTED;

    const uint64_t content_size = etz_i_u64(footer + ETZ_FOOTER_CONTENT_SIZE);
    file->content_size = content_size;
    memcpy(file->content_sha256, footer + ETZ_FOOTER_SHA256, sizeof file->content_sha256);
    file->block_size_log2 = footer[ETZ_FOOTER_BLOCK_SIZE_LOG2];
    file->alignment_log2 = footer[ETZ_FOOTER_ALIGNMENT_LOG2];
    file->max_stored_block = etz_i_u32(footer + ETZ_FOOTER_MAX_STORED_BLOCK);
    file->max_plane_scratch = etz_i_u32(footer + ETZ_FOOTER_MAX_PLANE_SCRATCH);
    memcpy(file->codecs, footer + ETZ_FOOTER_CODECS, sizeof file->codecs);
    table->count = etz_i_u16(footer + ETZ_FOOTER_SECTION_COUNT);
    table->crc = etz_i_u32(footer + ETZ_FOOTER_SECTION_TABLE_CRC);
    uint64_t reserved = etz_i_u64(footer + ETZ_FOOTER_RESERVED) | etz_i_u16(footer + ETZ_FOOTER_RESERVED_2);
    for (unsigned at = ETZ_FOOTER_ROOT_DIGEST; at < ETZ_FOOTER_CONTENT_SIZE; at += 8)
        reserved |= etz_i_u64(footer + at);
    if (reserved || file->block_size_log2 < ETZ_MIN_BLOCK_SIZE_LOG2
        || file->block_size_log2 > ETZ_MAX_BLOCK_SIZE_LOG2 || file->alignment_log2 > ETZ_MAX_ALIGNMENT_LOG2
        || content_size >> 48 || table->count > ETZ_MAX_SECTIONS
        || file->max_stored_block > UINT32_C(1) << file->block_size_log2 || !codecs_are_in_order(file->codecs))
        return ETZ_CORRUPT;
    table->end = offset;
    return ETZ_OK;
}

static etz_status check_limits(const etz_file *file, const etz_limits *limits)
{
    const uint64_t memory =
        (uint64_t)file->max_stored_block + file->max_plane_scratch + (UINT64_C(1) << file->block_size_log2);
    if (file->content_size > limits->content_size || memory > limits->decode_memory)
        return ETZ_LIMIT;
    if (file->content_size > UINT64_C(1) << 30 && (file->content_size - 1) >> limits->expansion_log2 >= file->source.size)
        return ETZ_LIMIT;
    return ETZ_OK;
}

/* Where a section lies. */
typedef struct section {
    uint64_t offset;
    uint64_t size;
} section;

/* Fill in a table, and see whether it ends with a whole row and its page's checksum. */
static etz_status set_table(etz_table *table, uint32_t type, const section *place, uint32_t limit)
{
    /* So that its words of 4 bytes fit into 32 bits. */
    if (place->size >> 34)
        return ETZ_LIMIT;
    const uint32_t words = (uint32_t)(place->size >> 2);
    const uint32_t rows = (words - words / (ETZ_PAGE_SIZE / 4)) / (ETZ_ROW_SIZE / 4);
    const uint32_t pages = (rows + ETZ_ROWS_PER_PAGE - 1) / ETZ_ROWS_PER_PAGE;
    table->stored_offset = place->offset;
    table->type = type;
    table->rows = rows;
    if (rows > limit)
        return ETZ_LIMIT;
    return place->size == (uint64_t)rows * ETZ_ROW_SIZE + pages * ETZ_CRC_SIZE ? ETZ_OK : ETZ_CORRUPT;
}

static etz_status parse_sections(etz_file *file, const section_table *table, const etz_limits *limits)
{
    enum { KNOWN = ETZ_SECTION_MANIFEST + 1, ALL_SEEN = (1 << KNOWN) - 1 - 1 };
    const uint32_t size = table->count * ETZ_SECTION_ROW_SIZE;
    const uint64_t start = table->end - size;
    uint8_t buffer[ETZ_I_PIECE / ETZ_SECTION_ROW_SIZE * ETZ_SECTION_ROW_SIZE];
    section known[KNOWN];
    uint64_t end = 0;
    uint32_t crc = 0, seen = 0, here;
    /* Told when the checksum is known to match. */
    etz_status fault = ETZ_OK;
    if (table->end < ETZ_HEADER_SIZE + size)
        return ETZ_CORRUPT;
    for (uint32_t done = 0; done < size; done += here) {
        here = size - done < sizeof buffer ? size - done : (uint32_t)sizeof buffer;
        const uint8_t *row = etz_i_view(&file->source, start + done, here, buffer);
        if (!row)
            return ETZ_IO;
        crc = file->kernels->crc32c(crc, row, here);
        if (!done)
            file->blocks_end = end = etz_i_u48(row + ETZ_SECTION_OFFSET);
        for (const uint8_t *last = row + here; row < last; row += ETZ_SECTION_ROW_SIZE) {
            const uint32_t type = etz_i_u16(row), flags = etz_i_u16(row + ETZ_SECTION_FLAGS);
            const section place = {etz_i_u48(row + ETZ_SECTION_OFFSET), etz_i_u48(row + ETZ_SECTION_BYTES)};
            const int is_known = type - 1 < KNOWN - 1;
            if (flags == ETZ_SECTION_FLAG_REQUIRED && !is_known)
                fault = ETZ_UNSUPPORTED;
            if (!fault && (flags > ETZ_SECTION_FLAG_REQUIRED || place.offset != end || (is_known && seen >> type & 1)))
                fault = ETZ_CORRUPT;
            end = place.offset + place.size;
            if (is_known) {
                seen |= UINT32_C(1) << type;
                known[type] = place;
            }
        }
    }
    if (crc != table->crc)
        return ETZ_CORRUPT;
    if (fault)
        return fault;
    if (end != start || file->blocks_end < ETZ_HEADER_SIZE || seen != ALL_SEEN)
        return ETZ_CORRUPT;
    fault = set_table(&file->index, ETZ_SECTION_INDEX, &known[ETZ_SECTION_INDEX], limits->blocks);
    return fault ? fault : set_table(&file->extents, ETZ_SECTION_EXTENTS, &known[ETZ_SECTION_EXTENTS], limits->extents);
}

static const etz_decoder *find_decoder(const etz_options *options, uint8_t codec)
{
    for (size_t i = 0; i < options->decoder_count; i++)
        if (options->decoders[i].codec == codec)
            return &options->decoders[i];
    return NULL;
}

static etz_status choose_decoders(etz_file *file, const etz_options *options)
{
    file->stream_alignment = file->dest_alignment = 1;
    for (unsigned i = 0; i < ETZ_MAX_CODECS && file->codecs[i]; i++) {
        const etz_decoder *decoder = find_decoder(options, file->codecs[i]);
        if (!decoder && file->codecs[i] == ETZ_CODEC_LZ4_BITPLANES)
            decoder = find_decoder(options, ETZ_CODEC_LZ4);
        if (!decoder)
            continue;
        file->decoders[i] = decoder;
        if (decoder->stream_alignment > file->stream_alignment)
            file->stream_alignment = decoder->stream_alignment;
        if (decoder->dest_alignment > file->dest_alignment)
            file->dest_alignment = decoder->dest_alignment;
    }
    if (file->stream_alignment > UINT32_C(1) << file->alignment_log2)
        return ETZ_UNSUPPORTED;
    if (!file->source.read_at && ((uintptr_t)file->source.memory & (file->stream_alignment - 1)))
        return ETZ_UNSUPPORTED;
    return ETZ_OK;
}

etz_status etz_open(etz_file *file, const etz_source *source, const etz_options *options)
{
    static const etz_limits default_limits = ETZ_DEFAULT_LIMITS;
    static const etz_options default_options = {NULL, 0, NULL, NULL};
    section_table table;
    if (!options)
        options = &default_options;
    const etz_limits *limits = options->limits ? options->limits : &default_limits;
    memset(file, 0, sizeof *file);
    file->source = *source;
    file->kernels = options->kernels ? options->kernels : &etz_kernels_portable;
    if (!source->read_at && source->size != (size_t)source->size)
        return ETZ_LIMIT;
    etz_status status = check_header(file);
    if (!status)
        status = parse_footer(file, &table);
    if (!status)
        status = check_limits(file, limits);
    if (!status)
        status = parse_sections(file, &table, limits);
    return status ? status : choose_decoders(file, options);
}
