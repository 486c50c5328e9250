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

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

uint32_t etz_i_page_size(const etz_table *table, uint32_t number)
{
    const uint32_t rows = table->rows - number * ETZ_ROWS_PER_PAGE;
    return (rows < ETZ_ROWS_PER_PAGE ? rows : ETZ_ROWS_PER_PAGE) * ETZ_ROW_SIZE + ETZ_CRC_SIZE;
}

/* Point `page->row` at a row of the table; its page is read and checked if it is another than the last one. */
static etz_status find_row(etz_context *context, etz_page *page, uint32_t number)
{
    const etz_table *table = page->table;
    const uint32_t wanted = number / ETZ_ROWS_PER_PAGE;
    if (page->number != wanted) {
        uint32_t (*const crc32c)(uint32_t, const uint8_t *, size_t) = context->file->kernels->crc32c;
        const uint32_t size = etz_i_page_size(table, wanted), rows = size - ETZ_CRC_SIZE;
        uint8_t place[8];
        page->number = UINT32_MAX;
        page->rows = etz_i_fetch(context, table->stored_offset + (uint64_t)wanted * ETZ_PAGE_SIZE, size, page->buffer);
        if (!page->rows)
            return ETZ_IO;
        context->counters.pages_checked++;
        put_u32(place, table->type);
        put_u32(place + 4, wanted);
        if (crc32c(crc32c(0, page->rows, rows), place, sizeof place) != etz_i_u32(page->rows + rows))
            return ETZ_CORRUPT;
        page->number = wanted;
    }
    page->row = page->rows + (number - wanted * ETZ_ROWS_PER_PAGE) * ETZ_ROW_SIZE;
    return ETZ_OK;
}

static etz_status load_extent(etz_context *context, uint32_t number, etz_extent *extent)
{
    const etz_status status = find_row(context, &context->extents, number);
    if (status)
        return status;
    const uint8_t *row = context->extents.row;
    extent->content_offset = etz_i_u48(row + ETZ_EXTENT_OFFSET);
    extent->content_size = etz_i_u48(row + ETZ_EXTENT_SIZE);
    extent->first_block = etz_i_u32(row + ETZ_EXTENT_FIRST_BLOCK);
    extent->number = number;
    return ETZ_OK;
}

etz_status etz_i_check_extents(etz_context *context)
{
    const etz_file *file = context->file;
    const uint32_t block_size = UINT32_C(1) << file->block_size_log2;
    uint64_t end = 0, blocks = 0;
    etz_status fault = ETZ_OK;
    for (uint32_t number = 0; number < file->extents.rows; number++) {
        etz_extent extent;
        const etz_status status = load_extent(context, number, &extent);
        if (status)
            return status;
        if (!extent.content_size || extent.content_offset < end || extent.first_block != blocks)
            fault = ETZ_CORRUPT;
        end = extent.content_offset + extent.content_size;
        blocks += (extent.content_size + block_size - 1) >> file->block_size_log2;
    }
    return end > file->content_size || blocks != file->index.rows ? ETZ_CORRUPT : fault;
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
    /* Mostly content is read in order: the next extent is looked at before others. */
    if (last->content_size && last->content_offset <= offset)
        low = probe = last->number + 1;
    else
        last->content_offset = last->content_size = 0;
    for (; low < high && !holds(last, offset); probe = low + (high - low) / 2) {
        etz_extent extent;
        const etz_status status = load_extent(context, probe, &extent);
        if (status)
            return status;
        if (extent.content_offset > offset) {
            high = probe;
            *next = extent.content_offset;
        } else {
            low = probe + 1;
            *last = extent;
        }
    }
    return ETZ_OK;
}

/* Judge a row of the index. Sizes and offsets have at most 48 bits, so sums do not wrap. */
static etz_status check_row(const etz_file *file, const etz_block *block)
{
    const uint64_t offset = block->stored_offset, size = block->stored_size;
    const uint32_t alignment = UINT32_C(1) << file->alignment_log2;
    if (block->filter > ETZ_FILTER_LAST)
        return ETZ_UNSUPPORTED;
    if ((block->codec == ETZ_CODEC_DIRECTORY) != (block->filter != ETZ_FILTER_NONE))
        return ETZ_CORRUPT;
    if (block->codec == ETZ_CODEC_CONSTANT)
        return size || block->crc || offset > UINT8_MAX ? ETZ_CORRUPT : ETZ_OK;
    if (!size || size > file->max_stored_block || size > block->content_size)
        return ETZ_CORRUPT;
    if (offset < ETZ_HEADER_SIZE || offset + size > file->blocks_end || (offset & (alignment - 1)))
        return ETZ_CORRUPT;
    return (block->codec == ETZ_CODEC_RAW) == (size == block->content_size) ? ETZ_OK : ETZ_CORRUPT;
}

etz_status etz_find_block(etz_context *context, uint64_t offset, etz_block *block)
{
    const etz_file *file = context->file;
    const etz_extent *extent = &context->extent;
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
    if ((status = find_row(context, &context->index, (uint32_t)number)) != ETZ_OK)
        return status;
    const uint8_t *row = context->index.row;
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
