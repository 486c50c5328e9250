/* Looking up: from a content offset to an extent, and from there to a row of the index; a page at a time. */
#include "etz_internal.h"

const uint8_t *etz_i_fetch(etz_context *context, uint64_t offset, size_t size, uint8_t *buffer)
{
    if (context->file->source.read_at) {
        context->counters.reads++;
        context->counters.bytes_read += size;
    }
    return etz_i_view(&context->file->source, offset, size, buffer);
}

/* Point `row` at a row of a table; its page is read and checked if it is another than the last one. */
static etz_status find_row(etz_context *context, etz_page *page, const etz_table *table, uint32_t number,
                           const uint8_t **row)
{
    const uint32_t wanted = number / ETZ_ROWS_PER_PAGE;
    if (page->number != wanted) {
        const etz_kernels *kernels = context->file->kernels;
        const uint32_t size = etz_i_page_size(table, wanted), rows = size - ETZ_CRC_SIZE;
        const uint64_t offset = table->stored_offset + (uint64_t)wanted * ETZ_PAGE_SIZE;
        page->number = UINT32_MAX;
        page->rows = etz_i_fetch(context, offset, size, page->buffer);
        if (!page->rows)
            return ETZ_IO;
        context->counters.pages_checked++;
        const uint32_t crc = kernels->crc32c(0, page->rows, rows);
        if (etz_i_page_crc(kernels, crc, table->type, wanted) != etz_i_u32(page->rows + rows))
            return ETZ_CORRUPT;
        page->number = wanted;
    }
    *row = page->rows + number % ETZ_ROWS_PER_PAGE * ETZ_ROW_SIZE;
    return ETZ_OK;
}

static etz_status load_extent(etz_context *context, uint32_t number, etz_extent *extent)
{
    const uint8_t *row;
    const etz_status status = find_row(context, &context->extents, &context->file->extents, number, &row);
    if (!status) {
        etz_i_extent(row, extent);
        extent->number = number;
    }
    return status;
}

static int holds(const etz_extent *extent, uint64_t offset)
{
    return offset >= extent->content_offset && offset - extent->content_offset < extent->content_size;
}

/* Find the number of the first extent that begins behind `offset`. */
static etz_status search_extents(etz_context *context, uint64_t offset, uint32_t *number)
{
    uint32_t low = 0, high = context->file->extents.rows;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        etz_extent extent;
        const etz_status status = load_extent(context, middle, &extent);
        if (status)
            return status;
        if (extent.content_offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    *number = low;
    return ETZ_OK;
}

/* Make the context's extent the one that holds `offset`; or fill `gap` and leave the extent as it is. */
static etz_status find_extent(etz_context *context, uint64_t offset, etz_block *gap, int *in_gap)
{
    const uint32_t count = context->file->extents.rows;
    const etz_extent *last = &context->extent;
    uint64_t start = 0, end = context->file->content_size;
    etz_extent extent;
    etz_status status;
    uint32_t next;
    *in_gap = 0;
    if (holds(last, offset))
        return ETZ_OK;
    /* Mostly content is read in order: the next extent comes before a search. */
    if (last->content_size && last->number + 1 < count) {
        if ((status = load_extent(context, last->number + 1, &extent)) != ETZ_OK)
            return status;
        if (holds(&extent, offset)) {
            context->extent = extent;
            return ETZ_OK;
        }
    }
    if ((status = search_extents(context, offset, &next)) != ETZ_OK)
        return status;
    if (next > 0) {
        if ((status = load_extent(context, next - 1, &extent)) != ETZ_OK)
            return status;
        if (holds(&extent, offset)) {
            context->extent = extent;
            return ETZ_OK;
        }
        start = extent.content_offset + extent.content_size;
    }
    if (next < count) {
        if ((status = load_extent(context, next, &extent)) != ETZ_OK)
            return status;
        end = extent.content_offset;
    }
    /* The tables were checked when the file was opened, so this is a source that changed. */
    if (start > offset || end <= offset || end > context->file->content_size)
        return ETZ_CORRUPT;
    gap->content_offset = start;
    gap->content_size = end - start;
    gap->stored_offset = 0;
    gap->stored_size = gap->crc = 0;
    gap->number = ETZ_NO_BLOCK;
    gap->filter = ETZ_FILTER_NONE;
    gap->codec = ETZ_CODEC_CONSTANT;
    *in_gap = 1;
    return ETZ_OK;
}

/* Judge a row of the index, for a block of `size` bytes, in the order of the specification's table. */
static etz_status check_row(const etz_file *file, const etz_block *block, uint32_t size)
{
    if (block->stored_size) {
        if (block->stored_size > file->max_stored_block || block->stored_offset < ETZ_HEADER_SIZE
            || block->stored_offset > file->blocks_end || block->stored_size > file->blocks_end - block->stored_offset
            || (block->stored_offset & ((UINT64_C(1) << file->alignment_log2) - 1)))
            return ETZ_CORRUPT;
    }
    if (block->filter > ETZ_FILTER_LAST)
        return ETZ_UNSUPPORTED;
    if ((block->codec == ETZ_CODEC_DIRECTORY) != (block->filter != ETZ_FILTER_NONE))
        return ETZ_CORRUPT;
    if (block->codec == ETZ_CODEC_RAW)
        return block->stored_size == size ? ETZ_OK : ETZ_CORRUPT;
    if (block->codec == ETZ_CODEC_CONSTANT)
        return block->stored_size || block->crc || block->stored_offset > UINT8_MAX ? ETZ_CORRUPT : ETZ_OK;
    return block->stored_size && block->stored_size < size ? ETZ_OK : ETZ_CORRUPT;
}

etz_status etz_find_block(etz_context *context, uint64_t offset, etz_block *block)
{
    const etz_file *file = context->file;
    const uint8_t *row;
    int in_gap;
    if (offset >= file->content_size)
        return ETZ_RANGE;
    etz_status status = find_extent(context, offset, block, &in_gap);
    if (status || in_gap)
        return status;
    const etz_extent *extent = &context->extent;
    const uint64_t in_extent = (offset - extent->content_offset) >> file->block_size_log2;
    const uint64_t number = extent->first_block + in_extent, start = in_extent << file->block_size_log2;
    const uint64_t rest = extent->content_size - start, full = UINT64_C(1) << file->block_size_log2;
    if (number >= file->index.rows || extent->content_offset + extent->content_size > file->content_size)
        return ETZ_CORRUPT;
    if ((status = find_row(context, &context->index, &file->index, (uint32_t)number, &row)) != ETZ_OK)
        return status;
    block->content_offset = extent->content_offset + start;
    block->content_size = rest < full ? rest : full;
    block->stored_offset = etz_i_u48(row + ETZ_INDEX_OFFSET);
    block->stored_size = etz_i_u32(row + ETZ_INDEX_SIZE);
    block->crc = etz_i_u32(row + ETZ_INDEX_CRC);
    block->number = (uint32_t)number;
    block->filter = row[ETZ_INDEX_FILTER];
    block->codec = row[ETZ_INDEX_CODEC];
    return check_row(file, block, (uint32_t)block->content_size);
}
