/**
 * @file
 * The `.etz` format, version 1, in numbers. Offsets and sizes are in bytes, integers little-endian.
 */
#ifndef ETZ_FORMAT_H
#define ETZ_FORMAT_H

enum {
    ETZ_FORMAT_VERSION = 1,

    /* Header. */
    ETZ_HEADER_SIZE = 16,
    ETZ_HEADER_VERSION = 8,
    ETZ_HEADER_RESERVED = 10,
    ETZ_HEADER_CRC = 12,

    /* Footer. */
    ETZ_FOOTER_SIZE = 128,
    ETZ_FOOTER_SHA256 = 0,
    ETZ_FOOTER_ROOT_DIGEST = 32,
    ETZ_FOOTER_CONTENT_SIZE = 64,
    ETZ_FOOTER_INCOMPAT = 72,
    ETZ_FOOTER_SECTION_TABLE_CRC = 80,
    ETZ_FOOTER_SECTION_COUNT = 84,
    ETZ_FOOTER_BLOCK_SIZE_LOG2 = 86,
    ETZ_FOOTER_ALIGNMENT_LOG2 = 87,
    ETZ_FOOTER_MAX_STORED_BLOCK = 88,
    ETZ_FOOTER_MAX_PLANE_SCRATCH = 92,
    ETZ_FOOTER_CODECS = 96,
    ETZ_FOOTER_RESERVED = 104,
    ETZ_FOOTER_VERSION = 112,
    ETZ_FOOTER_RESERVED_2 = 114,
    ETZ_FOOTER_CRC = 116,
    ETZ_FOOTER_MAGIC = 120,

    ETZ_MAGIC_SIZE = 8,
    ETZ_MIN_BLOCK_SIZE_LOG2 = 12,
    ETZ_MAX_BLOCK_SIZE_LOG2 = 22,
    ETZ_MAX_ALIGNMENT_LOG2 = 22,
    ETZ_MAX_CODECS = 8,
    ETZ_MAX_SECTIONS = 64,

    /* A row of the section table. */
    ETZ_SECTION_ROW_SIZE = 20,
    ETZ_SECTION_FLAGS = 2,
    ETZ_SECTION_OFFSET = 8,
    ETZ_SECTION_BYTES = 14,
    ETZ_SECTION_FLAG_REQUIRED = 1,

    ETZ_SECTION_INDEX = 1,
    ETZ_SECTION_EXTENTS = 2,
    ETZ_SECTION_MANIFEST = 3,

    /* Tables: rows in pages, each with a checksum behind it. */
    ETZ_ROW_SIZE = 16,
    ETZ_ROWS_PER_PAGE = 255,
    ETZ_CRC_SIZE = 4,
    ETZ_PAGE_SIZE = ETZ_ROWS_PER_PAGE * ETZ_ROW_SIZE + ETZ_CRC_SIZE,

    /* A row of the extent table. */
    ETZ_EXTENT_OFFSET = 0,
    ETZ_EXTENT_SIZE = 6,
    ETZ_EXTENT_FIRST_BLOCK = 12,

    /* A row of the index. */
    ETZ_INDEX_OFFSET = 0,
    ETZ_INDEX_FILTER = 6,
    ETZ_INDEX_CODEC = 7,
    ETZ_INDEX_SIZE = 8,
    ETZ_INDEX_CRC = 12,

    /* Filters: 0 is none; the others are byte planes, the even ones rotated. */
    ETZ_FILTER_NONE = 0,
    ETZ_FILTER_LAST = 6,
    ETZ_MAX_PLANES = 8,
    ETZ_DIRECTORY_ROW_SIZE = 4,

    /* Codecs. */
    ETZ_CODEC_RAW = 0,
    ETZ_CODEC_CONSTANT = 1,
    ETZ_CODEC_ZSTD = 2,
    ETZ_CODEC_LZ4 = 3,
    ETZ_CODEC_LZ4_BITPLANES = 4,
    ETZ_CODEC_FIRST_PRIVATE = 128,
    ETZ_CODEC_LAST_PRIVATE = 254,
    ETZ_CODEC_DIRECTORY = 255
};

/** The first 8 bytes of the file, and the last 8. */
#define ETZ_HEADER_MAGIC_BYTES "\x89" "ETZ\r\n\x1a\n"
#define ETZ_FOOTER_MAGIC_BYTES "ETZEND\r\n"

#endif
