/* Extent table and index, a page at a time: from a content offset to an extent, and from there to a block. */
#include <string.h>

#include "etz_internal.h"

const uint8_t *etz_i_fetch(etz_context *context, uint64_t offset, size_t size, uint8_t *buffer)
{
    if (context->file->source.read_at) {
        context->counters.reads++;
        context->counters.bytes_read += size;
    }
    return etz_i_view(&context->file->source, offset, size, buffer);
}

static uint32_t page_crc(const etz_kernels *kernels, const uint8_t *rows, uint32_t size, uint32_t type, uint32_t number)
{
    uint8_t place[8];
    for (unsigned i = 0; i < 4; i++) {
        place[i] = (uint8_t)(type >> (8 * i));
        place[4 + i] = (uint8_t)(number >> (8 * i));
    }
    return kernels->crc32c(kernels->crc32c(0, rows, size), place, sizeof place);
}

uint32_t etz_i_page_size(const etz_table *table, uint32_t number)
{
    const uint32_t rows = table->rows - number * ETZ_ROWS_PER_PAGE;
    return (rows < ETZ_ROWS_PER_PAGE ? rows : ETZ_ROWS_PER_PAGE) * ETZ_ROW_SIZE + ETZ_CRC_SIZE;
}

/* Point `row` at a row of a table; its page is read and checked if it is another than the last one. */
static etz_status find_row(etz_context *context, etz_page *page, const etz_table *table, uint32_t number,
                           const uint8_t **row)
{
    const uint32_t wanted = number / ETZ_ROWS_PER_PAGE;
    if (page->number != wanted) {
        const uint32_t size = etz_i_page_size(table, wanted), rows = size - ETZ_CRC_SIZE;
        const uint64_t offset = table->stored_offset + (uint64_t)wanted * ETZ_PAGE_SIZE;
        page->number = UINT32_MAX;
        page->rows = etz_i_fetch(context, offset, size, page->buffer);
        if (!page->rows)
            return ETZ_IO;
        context->counters.pages_checked++;
        if (page_crc(context->file->kernels, page->rows, rows, table->type, wanted) != etz_i_u32(page->rows + rows))
            return ETZ_CORRUPT;
        page->number = wanted;
    }
    *row = page->rows + number % ETZ_ROWS_PER_PAGE * ETZ_ROW_SIZE;
    return ETZ_OK;
}

/* Read a row of the extent table, and make it the context's extent if it begins at or before `offset`; return where it begins. */
static etz_status load_extent(etz_context *context, uint32_t number, uint64_t offset, uint64_t *start)
{
    const uint8_t *row;
    const etz_status status = find_row(context, &context->extents, &context->file->extents, number, &row);
    if (status)
        return status;
    *start = etz_i_u48(row + ETZ_EXTENT_OFFSET);
    if (*start <= offset) {
        context->extent.content_offset = *start;
        context->extent.content_size = etz_i_u48(row + ETZ_EXTENT_SIZE);
        context->extent.first_block = etz_i_u32(row + ETZ_EXTENT_FIRST_BLOCK);
        context->extent.number = number;
    }
    return ETZ_OK;
}

etz_status etz_i_check_extents(etz_context *context)
{
    const etz_file *file = context->file;
    const etz_extent *extent = &context->extent;
    uint64_t end = 0, blocks = 0, start;
    int good = 1;
    for (uint32_t number = 0; number < file->extents.rows; number++) {
        const etz_status status = load_extent(context, number, UINT64_MAX, &start);
        if (status)
            return status;
        good &= extent->content_size && start >= end && extent->first_block == blocks;
        end = start + extent->content_size;
        blocks += (extent->content_size + (UINT64_C(1) << file->block_size_log2) - 1) >> file->block_size_log2;
    }
    return good && end <= file->content_size && blocks == file->index.rows ? ETZ_OK : ETZ_CORRUPT;
}

/* Below the beginning the difference wraps, and is large. */
static int holds(const etz_extent *extent, uint64_t offset)
{
    return offset - extent->content_offset < extent->content_size;
}

/* Make the context's extent the last one that begins at or before `offset`, or one of no bytes if none does. Sets where the next one
 * begins, or the content ends; not looked for where the extent holds `offset`. */
static etz_status find_extent(etz_context *context, uint64_t offset, uint64_t *next)
{
    etz_extent *last = &context->extent;
    uint32_t low = 0, high = context->file->extents.rows, probe = high / 2;
    *next = context->file->content_size;
    if (holds(last, offset))
        return ETZ_OK;
    /* Mostly content is read in order: the next extent is looked at before others. */
    if (last->content_size && last->content_offset <= offset)
        low = probe = last->number + 1;
    else
        memset(last, 0, sizeof *last);
    for (; low < high; probe = low + (high - low) / 2) {
        uint64_t start;
        const etz_status status = load_extent(context, probe, offset, &start);
        if (status)
            return status;
        if (start > offset) {
            high = probe;
            *next = start;
            continue;
        }
        low = probe + 1;
        /* Then there is no need to look behind it. */
        if (holds(last, offset))
            break;
    }
    return ETZ_OK;
}

/* Judge a row of the index. Sizes and offsets have at most 48 bits, so sums do not wrap. */
static etz_status check_row(const etz_file *file, const etz_block *block)
{
    const uint64_t stored_offset = block->stored_offset, stored_size = block->stored_size;
    if (stored_size
        && (stored_size > file->max_stored_block || stored_offset < ETZ_HEADER_SIZE
            || stored_offset + stored_size > file->blocks_end
            || (stored_offset & ((UINT64_C(1) << file->alignment_log2) - 1))))
        return ETZ_CORRUPT;
    if (block->filter > ETZ_FILTER_LAST)
        return ETZ_UNSUPPORTED;
    int good = stored_size && stored_size < block->content_size;
    if (block->codec == ETZ_CODEC_RAW)
        good = stored_size == block->content_size;
    if (block->codec == ETZ_CODEC_CONSTANT)
        good = !stored_size && !block->crc && stored_offset <= UINT8_MAX;
    return good && (block->codec == ETZ_CODEC_DIRECTORY) == (block->filter != ETZ_FILTER_NONE) ? ETZ_OK : ETZ_CORRUPT;
}

etz_status etz_find_block(etz_context *context, uint64_t offset, etz_block *block)
{
    const etz_file *file = context->file;
    const etz_extent *extent = &context->extent;
    const uint8_t *row;
    uint64_t next;
    if (offset >= file->content_size)
        return ETZ_RANGE;
    etz_status status = find_extent(context, offset, &next);
    if (status)
        return status;
    const uint64_t extent_end = extent->content_offset + extent->content_size;
    if (!holds(extent, offset)) {
        memset(block, 0, sizeof *block);
        block->content_offset = extent_end;
        block->content_size = next - extent_end;
        block->number = ETZ_NO_BLOCK;
        block->codec = ETZ_CODEC_CONSTANT;
        return ETZ_OK;
    }
    const uint64_t in_extent = (offset - extent->content_offset) >> file->block_size_log2;
    const uint64_t number = extent->first_block + in_extent;
    /* The tables were checked when the file was opened, so this is a source that changed. */
    if (number >= file->index.rows || extent_end > file->content_size)
        return ETZ_CORRUPT;
    if ((status = find_row(context, &context->index, &file->index, (uint32_t)number, &row)) != ETZ_OK)
        return status;
    const uint64_t full = UINT64_C(1) << file->block_size_log2;
    block->content_offset = extent->content_offset + (in_extent << file->block_size_log2);
    block->content_size = extent_end - block->content_offset < full ? extent_end - block->content_offset : full;
    block->stored_offset = etz_i_u48(row + ETZ_INDEX_OFFSET);
    block->stored_size = etz_i_u32(row + ETZ_INDEX_SIZE);
    block->crc = etz_i_u32(row + ETZ_INDEX_CRC);
    block->number = (uint32_t)number;
    block->filter = row[ETZ_INDEX_FILTER];
    block->codec = row[ETZ_INDEX_CODEC];
    return check_row(file, block);
}
