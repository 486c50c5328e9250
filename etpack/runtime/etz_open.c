/* Opening: header, footer, section table, extent table. The order of checks is section 2 of the specification. */
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

static etz_status check_header(const etz_file *file)
{
    uint8_t buffer[ETZ_HEADER_SIZE];
    const size_t size = file->source.size < sizeof buffer ? (size_t)file->source.size : sizeof buffer;
    if (size < ETZ_MAGIC_SIZE)
        return ETZ_NOT_ETZ;
    const uint8_t *header = etz_i_view(&file->source, 0, size, buffer);
    if (!header)
        return ETZ_IO;
    if (!is_equal(header, ETZ_HEADER_MAGIC_BYTES, ETZ_MAGIC_SIZE))
        return ETZ_NOT_ETZ;
    if (size < sizeof buffer)
        return ETZ_TRUNCATED;
    if (etz_i_u32(header + ETZ_HEADER_CRC) != file->kernels->crc32c(0, header, ETZ_HEADER_CRC))
        return ETZ_CORRUPT;
    if (etz_i_u16(header + ETZ_HEADER_VERSION) != ETZ_FORMAT_VERSION)
        return ETZ_UNSUPPORTED;
    return etz_i_u16(header + ETZ_HEADER_RESERVED) ? ETZ_CORRUPT : ETZ_OK;
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
    uint8_t buffer[ETZ_FOOTER_SIZE];
    if (file->source.size < ETZ_HEADER_SIZE + ETZ_FOOTER_SIZE)
        return ETZ_TRUNCATED;
    const uint64_t offset = file->source.size - ETZ_FOOTER_SIZE;
    const uint8_t *footer = etz_i_view(&file->source, offset, sizeof buffer, buffer);
    if (!footer)
        return ETZ_IO;
    if (!is_equal(footer + ETZ_FOOTER_MAGIC, ETZ_FOOTER_MAGIC_BYTES, ETZ_MAGIC_SIZE))
        return ETZ_TRUNCATED;
    if (etz_i_u32(footer + ETZ_FOOTER_CRC) != file->kernels->crc32c(0, footer, ETZ_FOOTER_CRC))
        return ETZ_CORRUPT;
    if (etz_i_u16(footer + ETZ_FOOTER_VERSION) != ETZ_FORMAT_VERSION || etz_i_u32(footer + ETZ_FOOTER_INCOMPAT))
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

/* What the rows of the section table say, so far. */
typedef struct sections {
    uint64_t end;
    uint64_t sizes[ETZ_SECTION_MANIFEST + 1];
    uint32_t seen[ETZ_SECTION_MANIFEST + 1];
    /* The first fault in a row, and whether the sections follow each other. */
    etz_status row;
    int adjoin;
} sections;

static void add_section(etz_file *file, sections *found, const uint8_t *row, int first)
{
    const uint32_t type = etz_i_u16(row), flags = etz_i_u16(row + ETZ_SECTION_FLAGS);
    const uint64_t offset = etz_i_u48(row + ETZ_SECTION_OFFSET), size = etz_i_u48(row + ETZ_SECTION_BYTES);
    const int known = type >= ETZ_SECTION_INDEX && type <= ETZ_SECTION_MANIFEST;
    if (found->row == ETZ_OK && flags > ETZ_SECTION_FLAG_REQUIRED)
        found->row = ETZ_CORRUPT;
    if (found->row == ETZ_OK && flags && !known)
        found->row = ETZ_UNSUPPORTED;
    if (first) {
        file->blocks_end = offset;
        found->adjoin = offset >= ETZ_HEADER_SIZE;
    } else if (offset != found->end) {
        found->adjoin = 0;
    }
    found->end = offset + size;
    if (!known)
        return;
    found->seen[type]++;
    found->sizes[type] = size;
    if (type == ETZ_SECTION_MANIFEST)
        return;
    etz_table *table = type == ETZ_SECTION_INDEX ? &file->index : &file->extents;
    table->stored_offset = offset;
    table->type = type;
}

static etz_status parse_sections(etz_file *file, const section_table *table, const etz_limits *limits)
{
    enum { ROWS = ETZ_I_PIECE / ETZ_SECTION_ROW_SIZE };
    uint8_t buffer[ROWS * ETZ_SECTION_ROW_SIZE];
    sections found;
    uint32_t crc = 0;
    if (table->end < ETZ_HEADER_SIZE + table->count * ETZ_SECTION_ROW_SIZE)
        return ETZ_CORRUPT;
    const uint64_t start = table->end - table->count * ETZ_SECTION_ROW_SIZE;
    memset(&found, 0, sizeof found);
    for (uint32_t done = 0; done < table->count;) {
        const uint32_t here = table->count - done < ROWS ? table->count - done : ROWS;
        const uint32_t size = here * ETZ_SECTION_ROW_SIZE;
        const uint8_t *rows = etz_i_view(&file->source, start + done * ETZ_SECTION_ROW_SIZE, size, buffer);
        if (!rows)
            return ETZ_IO;
        crc = file->kernels->crc32c(crc, rows, size);
        for (uint32_t i = 0; i < here; i++)
            add_section(file, &found, rows + i * ETZ_SECTION_ROW_SIZE, done + i == 0);
        done += here;
    }
    if (crc != table->crc)
        return ETZ_CORRUPT;
    if (found.row != ETZ_OK)
        return found.row;
    if (!found.adjoin || found.end != start)
        return ETZ_CORRUPT;
    for (unsigned type = ETZ_SECTION_INDEX; type <= ETZ_SECTION_MANIFEST; type++)
        if (found.seen[type] != 1)
            return ETZ_CORRUPT;
    const etz_status status = count_rows(found.sizes[ETZ_SECTION_INDEX], limits->blocks, &file->index);
    return status ? status : count_rows(found.sizes[ETZ_SECTION_EXTENTS], limits->extents, &file->extents);
}

void etz_i_extent(const uint8_t *row, etz_extent *extent)
{
    extent->content_offset = etz_i_u48(row + ETZ_EXTENT_OFFSET);
    extent->content_size = etz_i_u48(row + ETZ_EXTENT_SIZE);
    extent->first_block = etz_i_u32(row + ETZ_EXTENT_FIRST_BLOCK);
}

uint32_t etz_i_page_crc(const etz_kernels *kernels, uint32_t crc, uint32_t type, uint32_t number)
{
    uint8_t place[8] = {0};
    for (unsigned i = 0; i < 4; i++) {
        place[i] = (uint8_t)(type >> (8 * i));
        place[4 + i] = (uint8_t)(number >> (8 * i));
    }
    return kernels->crc32c(crc, place, sizeof place);
}

uint32_t etz_i_page_size(const etz_table *table, uint32_t number)
{
    const uint32_t rows = table->rows - number * ETZ_ROWS_PER_PAGE;
    return (rows < ETZ_ROWS_PER_PAGE ? rows : ETZ_ROWS_PER_PAGE) * ETZ_ROW_SIZE + ETZ_CRC_SIZE;
}

/* What the extents before a row add up to. */
typedef struct extent_sums {
    uint64_t end;
    uint64_t blocks;
} extent_sums;

static int add_extent(extent_sums *sums, const uint8_t *row, uint32_t block_size_log2)
{
    etz_extent extent;
    etz_i_extent(row, &extent);
    const int good =
        extent.content_size && extent.content_offset >= sums->end && extent.first_block == sums->blocks;
    sums->end = extent.content_offset + extent.content_size;
    sums->blocks += (extent.content_size + (UINT64_C(1) << block_size_log2) - 1) >> block_size_log2;
    return good;
}

/* All of it, in pieces: what is looked up later has only its page's checksum to be compared. */
static etz_status check_extents(const etz_file *file)
{
    uint8_t buffer[ETZ_I_PIECE];
    extent_sums sums = {0, 0};
    uint64_t offset = file->extents.stored_offset;
    int good = 1;
    for (uint32_t page = 0; page * ETZ_ROWS_PER_PAGE < file->extents.rows; page++) {
        uint32_t crc = 0;
        for (uint32_t rest = etz_i_page_size(&file->extents, page); rest;) {
            const uint32_t size = rest < ETZ_I_PIECE ? rest : ETZ_I_PIECE;
            const uint8_t *piece = etz_i_view(&file->source, offset, size, buffer);
            if (!piece)
                return ETZ_IO;
            rest -= size;
            offset += size;
            /* Rows have 16 bytes, as have pieces but the last: so only that one holds bytes of the checksum, and all of them. */
            const uint32_t rows = rest ? size : size - ETZ_CRC_SIZE;
            crc = file->kernels->crc32c(crc, piece, rows);
            for (uint32_t row = 0; row < rows; row += ETZ_ROW_SIZE)
                good &= add_extent(&sums, piece + row, file->block_size_log2);
            if (!rest && etz_i_page_crc(file->kernels, crc, file->extents.type, page) != etz_i_u32(piece + rows))
                return ETZ_CORRUPT;
        }
    }
    return good && sums.end <= file->content_size && sums.blocks == file->index.rows ? ETZ_OK : ETZ_CORRUPT;
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
    if (!status)
        status = check_extents(file);
    return status ? status : choose_decoders(file, options);
}
