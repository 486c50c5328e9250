/* Opening: header, footer, section table. The order of checks is section 2 of the specification. */
#include <string.h>

#include "etz_internal.h"

static int is_equal(const uint8_t *bytes, const char *expected, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (uint8_t)expected[i])
            return 0;
    return 1;
}

static int all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return 0;
    return 1;
}

/* Not inline: a loop in one place is a tenth of the code that it would be wherever it is used. */
uint64_t etz_i_uint(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | bytes[size];
    return value;
}

const uint8_t *etz_i_view(const etz_source *source, uint64_t offset, size_t size, uint8_t *buffer)
{
    if (!source->read_at)
        return source->memory + (size_t)offset;
    return source->read_at(source->user, offset, buffer, size) ? NULL : buffer;
}

/* Where the magic, the version and the checksum lie, in the header or in the footer; they keep their places in every version. */
typedef struct fixed_part {
    char magic[ETZ_MAGIC_SIZE];
    uint8_t magic_at;
    uint8_t crc_at;
    uint8_t version_at;
} fixed_part;

static etz_status check_end(const etz_file *file, const uint8_t *bytes, const fixed_part *part, etz_status not_there)
{
    if (!is_equal(bytes + part->magic_at, part->magic, ETZ_MAGIC_SIZE))
        return not_there;
    if (etz_i_u32(bytes + part->crc_at) != file->kernels->crc32c(0, bytes, part->crc_at))
        return ETZ_CORRUPT;
    return etz_i_u16(bytes + part->version_at) == ETZ_FORMAT_VERSION ? ETZ_OK : ETZ_UNSUPPORTED;
}

static etz_status check_header(const etz_file *file)
{
    static const fixed_part part = {ETZ_HEADER_MAGIC_BYTES, 0, ETZ_HEADER_CRC, ETZ_HEADER_VERSION};
    uint8_t buffer[ETZ_HEADER_SIZE];
    const size_t size = file->source.size < sizeof buffer ? (size_t)file->source.size : sizeof buffer;
    if (size < ETZ_MAGIC_SIZE)
        return ETZ_NOT_ETZ;
    const uint8_t *header = etz_i_view(&file->source, 0, size, buffer);
    if (!header)
        return ETZ_IO;
    if (size < sizeof buffer)
        return is_equal(header, part.magic, ETZ_MAGIC_SIZE) ? ETZ_TRUNCATED : ETZ_NOT_ETZ;
    const etz_status status = check_end(file, header, &part, ETZ_NOT_ETZ);
    return !status && etz_i_u16(header + ETZ_HEADER_RESERVED) ? ETZ_CORRUPT : status;
}

/* Ascending, then zeros, and only ids that need a decoder. */
static int codecs_are_in_order(const uint8_t *codecs)
{
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        if (codecs[i] == ETZ_CODEC_CONSTANT || codecs[i] == ETZ_CODEC_DIRECTORY)
            return 0;
        if (i > 0 && codecs[i] && codecs[i] <= codecs[i - 1])
            return 0;
        if (i > 0 && codecs[i] && !codecs[i - 1])
            return 0;
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
    static const fixed_part part = {ETZ_FOOTER_MAGIC_BYTES, ETZ_FOOTER_MAGIC, ETZ_FOOTER_CRC, ETZ_FOOTER_VERSION};
    uint8_t buffer[ETZ_FOOTER_SIZE];
    if (file->source.size < ETZ_HEADER_SIZE + ETZ_FOOTER_SIZE)
        return ETZ_TRUNCATED;
    const uint64_t offset = file->source.size - ETZ_FOOTER_SIZE;
    const uint8_t *footer = etz_i_view(&file->source, offset, sizeof buffer, buffer);
    if (!footer)
        return ETZ_IO;
    const etz_status status = check_end(file, footer, &part, ETZ_TRUNCATED);
    if (status)
        return status;
    if (etz_i_u32(footer + ETZ_FOOTER_INCOMPAT))
        return ETZ_UNSUPPORTED;

    const uint64_t content_size = etz_i_uint(footer + ETZ_FOOTER_CONTENT_SIZE, 8);
    file->content_size = content_size;
    memcpy(file->content_sha256, footer + ETZ_FOOTER_SHA256, sizeof file->content_sha256);
    file->block_size_log2 = footer[ETZ_FOOTER_BLOCK_SIZE_LOG2];
    file->alignment_log2 = footer[ETZ_FOOTER_ALIGNMENT_LOG2];
    file->max_stored_block = etz_i_u32(footer + ETZ_FOOTER_MAX_STORED_BLOCK);
    file->max_plane_scratch = etz_i_u32(footer + ETZ_FOOTER_MAX_PLANE_SCRATCH);
    memcpy(file->codecs, footer + ETZ_FOOTER_CODECS, sizeof file->codecs);
    table->count = etz_i_u16(footer + ETZ_FOOTER_SECTION_COUNT);
    table->crc = etz_i_u32(footer + ETZ_FOOTER_SECTION_TABLE_CRC);
    if (!all_zero(footer + ETZ_FOOTER_ROOT_DIGEST, ETZ_FOOTER_CONTENT_SIZE - ETZ_FOOTER_ROOT_DIGEST)
        || !all_zero(footer + ETZ_FOOTER_RESERVED, ETZ_FOOTER_VERSION - ETZ_FOOTER_RESERVED)
        || etz_i_u16(footer + ETZ_FOOTER_RESERVED_2) || file->block_size_log2 < ETZ_MIN_BLOCK_SIZE_LOG2
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

/* Whether a table of `size` bytes ends with a whole row and its page's checksum; sets its rows. In words of 4 bytes. */
static etz_status count_rows(uint64_t size, uint32_t limit, etz_table *table)
{
    enum { PAGE = ETZ_PAGE_SIZE / 4, ROW = ETZ_ROW_SIZE / 4 };
    /* So that words fit into 32 bits. */
    if (size >> 34)
        return ETZ_LIMIT;
    const uint32_t words = (uint32_t)(size >> 2), last = words % PAGE;
    const uint32_t pages = words / PAGE + (last != 0);
    table->rows = (words - pages) / ROW;
    if (table->rows > limit)
        return ETZ_LIMIT;
    return (size & 3) || (last && (last == 1 || last % ROW != 1)) ? ETZ_CORRUPT : ETZ_OK;
}

static etz_status parse_sections(etz_file *file, const section_table *table, const etz_limits *limits)
{
    enum { ROWS = ETZ_I_PIECE / ETZ_SECTION_ROW_SIZE, KNOWN = ETZ_SECTION_MANIFEST };
    const uint32_t count = table->count, size = count * ETZ_SECTION_ROW_SIZE;
    const uint64_t start = table->end - size;
    uint8_t buffer[ROWS * ETZ_SECTION_ROW_SIZE];
    const uint8_t *row = buffer;
    etz_table manifest, *const tables[KNOWN] = {&file->index, &file->extents, &manifest};
    uint64_t end = 0, sizes[KNOWN] = {0, 0, 0};
    uint32_t crc = 0, seen = 0;
    /* The first fault in a row; and whether the sections follow each other, each known one once. */
    etz_status status = ETZ_OK;
    int good = 1;
    if (table->end < ETZ_HEADER_SIZE + size)
        return ETZ_CORRUPT;
    for (uint32_t i = 0; i < count; i++, row += ETZ_SECTION_ROW_SIZE) {
        if (i % ROWS == 0) {
            const uint32_t here = (count - i < ROWS ? count - i : ROWS) * ETZ_SECTION_ROW_SIZE;
            row = etz_i_view(&file->source, start + i * ETZ_SECTION_ROW_SIZE, here, buffer);
            if (!row)
                return ETZ_IO;
            crc = file->kernels->crc32c(crc, row, here);
        }
        const uint32_t type = etz_i_u16(row), flags = etz_i_u16(row + ETZ_SECTION_FLAGS), known = type - 1;
        const uint64_t offset = etz_i_u48(row + ETZ_SECTION_OFFSET);
        if (!status && flags > ETZ_SECTION_FLAG_REQUIRED)
            status = ETZ_CORRUPT;
        if (!status && flags && known >= KNOWN)
            status = ETZ_UNSUPPORTED;
        if (i == 0)
            file->blocks_end = end = offset;
        good &= offset == end;
        end = offset + etz_i_u48(row + ETZ_SECTION_BYTES);
        if (known >= KNOWN)
            continue;
        good &= !(seen >> type & 1);
        seen |= UINT32_C(1) << type;
        sizes[known] = end - offset;
        tables[known]->stored_offset = offset;
        tables[known]->type = type;
    }
    if (crc != table->crc)
        return ETZ_CORRUPT;
    if (status)
        return status;
    if (!good || end != start || file->blocks_end < ETZ_HEADER_SIZE || seen != ((1 << KNOWN) - 1) << 1)
        return ETZ_CORRUPT;
    status = count_rows(sizes[ETZ_SECTION_INDEX - 1], limits->blocks, &file->index);
    return status ? status : count_rows(sizes[ETZ_SECTION_EXTENTS - 1], limits->extents, &file->extents);
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
    for (unsigned i = 0; i < ETZ_MAX_CODECS; i++) {
        const etz_decoder *decoder = file->codecs[i] ? find_decoder(options, file->codecs[i]) : NULL;
        if (!decoder && file->codecs[i] == ETZ_CODEC_LZ4_BITPLANES)
            decoder = find_decoder(options, ETZ_CODEC_LZ4);
        file->decoders[i] = decoder;
        if (decoder && decoder->stream_alignment > file->stream_alignment)
            file->stream_alignment = decoder->stream_alignment;
        if (decoder && decoder->dest_alignment > file->dest_alignment)
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
