/**
 * @file
 * Reads any range of the content of an `.etz`, without a heap: every byte of memory is the caller's.
 *
 *     etz_file file;
 *     etz_context context;
 *     etz_memory memory;
 *     etz_options options = {.decoders = decoders, .decoder_count = 2, .kernels = etz_kernels_best()};
 *     if ((status = etz_open(&file, &source, &options)) != ETZ_OK) ...
 *     if ((status = etz_memory_needed(&file, 1, &memory)) != ETZ_OK) ...
 *     region = (memory.size bytes at a multiple of memory.alignment)
 *     if ((status = etz_context_init(&context, &file, 1, region, memory.size)) != ETZ_OK) ...
 *     status = etz_read(&context, offset, destination, size);
 *
 * Threads: an `etz_file` does not change after etz_open() and may be shared by any number of threads. An `etz_context`, and
 * the region that belongs to it, is for one thread at a time. There are no global variables.
 *
 * All functions return an `etz_status`. Pointers must be valid unless it says that they may be NULL. What the structs of this
 * file hold may be read by anyone; only the functions of this file write to `etz_file` and `etz_context`.
 */
#ifndef ETZ_READER_H
#define ETZ_READER_H

#include <stddef.h>
#include <stdint.h>

#include "etz_config.h"
#include "etz_format.h"
#include "etz_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What came of a call. Values are stable. */
typedef enum etz_status {
    ETZ_OK = 0,
    /** The file does not begin with the magic: it is some other kind of file. */
    ETZ_NOT_ETZ = 1,
    /** The file ends before a part that it declares, or has bytes behind its footer. */
    ETZ_TRUNCATED = 2,
    /** A checksum does not match, or a value cannot be. */
    ETZ_CORRUPT = 3,
    /** The file needs a newer reader, or is not aligned as a decoder needs it (`etz_decoder::stream_alignment`). */
    ETZ_UNSUPPORTED = 4,
    /** A block needs a codec for which no decoder was given. */
    ETZ_CODEC_MISSING = 5,
    /** The file asks for more than `etz_limits` allows, or for more memory than this machine can address. */
    ETZ_LIMIT = 6,
    /** The read callback, or an engine, failed. */
    ETZ_IO = 7,
    /** The range leaves the content: the caller's mistake. */
    ETZ_RANGE = 8,
    /** The region is too small or not aligned, or `batch_blocks` is out of bounds: the caller's mistake. */
    ETZ_MEMORY = 9
} etz_status;

/** Return the error's name as the specification has it ("corrupt", ...), "ok", "io", "range", "memory", or "unknown". */
const char *etz_status_slug(etz_status status);

/**
 * Read stored bytes.
 *
 * @param[in] user What the caller put into `etz_source`.
 * @param[in] offset Stored offset, in bytes.
 * @param[out] dest Room for `size` bytes.
 * @param[in] size Bytes, at least 1; `offset + size` never exceeds the source's size.
 * @return 0 when all bytes were read; anything else makes the call that needed them return ETZ_IO. A read that was
 *     interrupted or came back short is the callback's to finish.
 *
 * It is called from every thread that uses a context, so it must be thread-safe if there are several.
 */
typedef int (*etz_read_at)(void *user, uint64_t offset, void *dest, size_t size);

/** Where the stored bytes are: behind a callback, or in memory. Must stay as it is while a file is open. */
typedef struct etz_source {
    /** Reads stored bytes; NULL if they are in memory. */
    etz_read_at read_at;
    /** Passed to `read_at`. */
    void *user;
    /** All stored bytes, if `read_at` is NULL: memory-mapped flash, a mapped file. Read in place, never copied whole. */
    const uint8_t *memory;
    /** Stored bytes, the size of the `.etz`. */
    uint64_t size;
} etz_source;

/** One stream for a decoder. */
typedef struct etz_stream {
    /** The stream, `stored_size` bytes at a multiple of the decoder's `stream_alignment`. */
    const uint8_t *stored;
    /** Where its content goes, `size` bytes at a multiple of the decoder's `dest_alignment`. */
    uint8_t *dest;
    uint32_t stored_size;
    /** Bytes that the stream must decode to, exactly. */
    uint32_t size;
} etz_stream;

/**
 * A decoder for one codec: software, or an engine.
 *
 * The table of them must outlive the file. The functions are called from every thread that uses a context.
 */
typedef struct etz_decoder {
    /**
     * Codec id. An entry for ETZ_CODEC_LZ4 serves ETZ_CODEC_LZ4_BITPLANES too, with the transposition done by the reader,
     * unless there is an entry for that id itself, whose `decode` then writes the plane's bytes. 128 to 254 are private.
     */
    uint8_t codec;
    /**
     * What addresses of streams must be a multiple of: a power of two, or 0 for any. If the file names this codec, and is
     * packed with a smaller alignment (or is in memory that begins at no such multiple), etz_open() gives ETZ_UNSUPPORTED.
     */
    uint32_t stream_alignment;
    /**
     * What destinations must be a multiple of: a power of two, or 0 for any. The reader's own buffers always are; where the
     * caller's is not, a block goes through the scratch block.
     */
    uint32_t dest_alignment;
    /** Passed to the functions. */
    void *user;
    /**
     * Return the bytes of workspace that one context needs, 0 if none; NULL stands for 0.
     *
     * @param[in] largest Bytes of the largest destination of a stream.
     * @param[in] streams The most streams of one call.
     */
    size_t (*workspace_size)(void *user, uint32_t largest, uint32_t streams);
    /** Set up the workspace, once for a context, before any stream is decoded. May be NULL. ETZ_OK, or an error to pass on. */
    etz_status (*prepare)(void *user, void *workspace, size_t workspace_size);
    /**
     * Decode `count` streams, at least one, in any order or at once; return when all are done.
     *
     * @param[in] workspace At a multiple of 64; keeps its bytes between the calls of one context. NULL if its size is 0.
     * @retval ETZ_OK Every stream had exactly its size, and nothing behind its end.
     * @retval ETZ_CORRUPT A stream is broken. It must not have made the decoder write outside its destination.
     * @retval ETZ_IO The engine failed. Any other error is passed on as it is.
     */
    etz_status (*decode)(void *user, void *workspace, const etz_stream *streams, size_t count);
} etz_decoder;

/** What a file may ask for before it is refused with ETZ_LIMIT; defaults in etz_config.h. */
typedef struct etz_limits {
    /** Bytes of content. */
    uint64_t content_size;
    /** log2 of the bytes of content for each stored byte, at most 63; looked at above 1 GiB of content. */
    uint32_t expansion_log2;
    /** Rows of the index; 2^30 at most. */
    uint32_t blocks;
    /** Rows of the extent table; 2^30 at most. */
    uint32_t extents;
    /** max_stored_block + max_plane_scratch + block size, in bytes. */
    uint64_t decode_memory;
} etz_limits;

/** An initialiser for `etz_limits` with the defaults. */
#define ETZ_DEFAULT_LIMITS                                                                                            \
    { ETZ_LIMIT_CONTENT_SIZE, ETZ_LIMIT_EXPANSION_LOG2, ETZ_LIMIT_BLOCKS, ETZ_LIMIT_EXTENTS, ETZ_LIMIT_DECODE_MEMORY }

/** What a file is opened with. All zeros are good: files of raw and constant blocks, portable kernels, default limits. */
typedef struct etz_options {
    /** Decoders for the codecs that files may use; the first for an id counts. Must outlive the file. */
    const etz_decoder *decoders;
    size_t decoder_count;
    /** Inner loops; NULL for the portable ones. Must outlive the file. */
    const etz_kernels *kernels;
    /** NULL for the defaults. Used by etz_open() only. */
    const etz_limits *limits;
} etz_options;

/** Where a table lies. */
typedef struct etz_table {
    uint64_t stored_offset;
    /** Section type, which is part of each page's checksum. */
    uint32_t type;
    uint32_t rows;
} etz_table;

/** A file that was opened. Owned by the caller; immutable, shared by threads; needs no closing. */
typedef struct etz_file {
    etz_source source;
    const etz_kernels *kernels;
    /** Bytes of content. */
    uint64_t content_size;
    uint32_t block_size_log2;
    uint32_t alignment_log2;
    /** Bytes of the largest stored block. */
    uint32_t max_stored_block;
    /** Bytes for the decoded planes of the most demanding block. */
    uint32_t max_plane_scratch;
    /** Stored offset behind the last stored block. */
    uint64_t blocks_end;
    etz_table index;
    etz_table extents;
    /** Ids of the codecs that the file names, ascending, then zeros. */
    uint8_t codecs[ETZ_MAX_CODECS];
    /** The largest `stream_alignment` and `dest_alignment` of their decoders, at least 1. */
    uint32_t stream_alignment;
    uint32_t dest_alignment;
    /** The decoder for each of them, or NULL where none was given. */
    const etz_decoder *decoders[ETZ_MAX_CODECS];
    /** SHA-256 of the content, as recorded; the reader does not compare it. */
    uint8_t content_sha256[32];
} etz_file;

/** Memory for a context. */
typedef struct etz_memory {
    /** Bytes. */
    size_t size;
    /** What its address must be a multiple of: a power of two, 64 or more. */
    size_t alignment;
} etz_memory;

/** What a context did so far. For tests and tuning; they may be set to zero at any time. */
typedef struct etz_counters {
    /** Calls of the read callback, and the bytes they gave. */
    uint64_t reads;
    uint64_t bytes_read;
    /** Blocks that were decoded, not counting those taken from the scratch block. */
    uint64_t blocks_decoded;
    /** Pages of index and extent table whose checksum was looked at. */
    uint64_t pages_checked;
    /** Calls of decoders, and the streams they were given. */
    uint64_t decoder_calls;
    uint64_t streams_decoded;
} etz_counters;

/** A block, or a gap of zeros, and where it lies. */
typedef struct etz_block {
    /** Content offset and bytes, at least 1; those of a gap reach up to the next extent or the end of the content. */
    uint64_t content_offset;
    uint64_t content_size;
    /** Stored offset and bytes; 0 bytes for a constant block, whose value stands in the place of the offset, and for a gap. */
    uint64_t stored_offset;
    uint32_t stored_size;
    /** CRC-32C of the stored bytes. */
    uint32_t crc;
    /** Block number, or ETZ_NO_BLOCK for a gap. */
    uint32_t number;
    /** Filter and codec (section 5 of the specification); 0 and ETZ_CODEC_CONSTANT for a gap. */
    uint8_t filter;
    uint8_t codec;
} etz_block;

#define ETZ_NO_BLOCK UINT32_MAX

/** The page of a table that was read last. */
typedef struct etz_page {
    const etz_table *table;
    /** Its rows: in `buffer`, or in the source's memory. */
    const uint8_t *rows;
    /** The row that was asked for last. */
    const uint8_t *row;
    uint8_t *buffer;
    /** UINT32_MAX if there is none. */
    uint32_t number;
} etz_page;

/** An extent: a part of the content that starts a new block. */
typedef struct etz_extent {
    uint64_t content_offset;
    /** 0 if there is none. */
    uint64_t content_size;
    uint32_t first_block;
    uint32_t number;
} etz_extent;

/** What one thread reads with. Owned by the caller; fields are the reader's own but for `counters`. */
typedef struct etz_context {
    const etz_file *file;
    /** Blocks decoded together. */
    uint32_t batch_blocks;
    /** The block in `block`, or ETZ_NO_BLOCK. */
    uint32_t kept_block;
    /** Scratch block: holds the block that was last wanted in part. */
    uint8_t *block;
    /** Stored bytes of a batch, and room for those of each block: 0 where the source is in memory. */
    uint8_t *stored;
    uint64_t stored_room;
    /** Decoded planes: so many bytes for each block of a batch. */
    uint8_t *planes;
    uint64_t planes_step;
    /** What stands for constant planes. */
    uint8_t *constants;
    struct etz_job *jobs;
    etz_stream *streams;
    etz_extent extent;
    etz_page index;
    etz_page extents;
    /** In the order of `etz_file::codecs`; codecs next to each other with one decoder share one. */
    void *workspaces[ETZ_MAX_CODECS];
    etz_counters counters;
} etz_context;

/**
 * Open a file: check header, footer and section table.
 *
 * Reads 16 bytes, 128 bytes, and the section table: in one piece up to 12 sections; this project's writer makes 3.
 *
 * @param[out] file Filled on success; its content means nothing after an error.
 * @param[in] source Copied; what it points at must outlive the file.
 * @param[in] options What to open it with; NULL for the defaults.
 * @retval ETZ_NOT_ETZ It does not begin with the magic.
 * @retval ETZ_TRUNCATED It ends inside the header, or does not end with a footer.
 * @retval ETZ_CORRUPT A checksum, a reserved field, a value or the order of sections is wrong.
 * @retval ETZ_UNSUPPORTED Another format version, an unknown feature bit or required section, or streams that are not
 *     aligned as the decoder of a codec that the file names needs them.
 * @retval ETZ_LIMIT It is over a limit.
 * @retval ETZ_IO The callback failed.
 */
etz_status etz_open(etz_file *file, const etz_source *source, const etz_options *options);

/**
 * Say what memory a context needs, from the footer and what the decoders report.
 *
 * It is, each rounded up to 64 or to the decoders' alignment: a block; for each block of a batch max_stored_block (not for a
 * source in memory), max_plane_scratch and 528 bytes (on 64-bit machines); two pages of 4084 bytes at most (not in memory);
 * 2 KiB; workspaces.
 *
 * @param[in] batch_blocks Blocks that are fetched, checked and given to decoders together, 1 to 65,535. With 1 a decoder gets
 *     the planes of a block in one call; more is for engines that pipeline.
 * @param[out] memory Filled on success.
 * @retval ETZ_MEMORY `batch_blocks` is out of bounds.
 * @retval ETZ_LIMIT The sum is more than a size_t holds.
 */
etz_status etz_memory_needed(const etz_file *file, uint32_t batch_blocks, etz_memory *memory);

/**
 * Make a context in the caller's memory, and check the whole extent table, of which it reads each page once.
 *
 * @param[in] file Must outlive the context.
 * @param[in] batch_blocks As for etz_memory_needed().
 * @param[in] base The region, the caller's; used by this context alone until it is needed no more. Need not be cleared.
 * @param[in] size Its bytes.
 * @retval ETZ_MEMORY The region is smaller than etz_memory_needed() says, or not aligned; `batch_blocks` is out of bounds.
 * @retval ETZ_LIMIT As etz_memory_needed().
 * @retval ETZ_CORRUPT The extent table is wrong.
 * @retval ETZ_IO The callback failed.
 * @return or the error of a decoder's `prepare`.
 */
etz_status etz_context_init(etz_context *context, const etz_file *file, uint32_t batch_blocks, void *base, size_t size);

/**
 * Read a range of the content.
 *
 * Blocks that lie wholly in the range are decoded straight into `dest`; others by way of the scratch block, where the last
 * one stays: reading the rest of it later costs a copy.
 *
 * @param[in] offset Content offset, in bytes.
 * @param[out] dest Room for `size` bytes, at any address; may be NULL if `size` is 0. After ETZ_RANGE it is as it was; after any
 *     other error it holds zeros.
 * @param[in] size Bytes.
 * @retval ETZ_RANGE `offset + size` is over the content's size.
 * @retval ETZ_CORRUPT A page or block that the range touches breaks a rule of the format.
 * @retval ETZ_UNSUPPORTED A block uses a filter or codec that this version of the format does not have.
 * @retval ETZ_CODEC_MISSING A block uses a codec for which there is no decoder.
 * @retval ETZ_IO The callback, or an engine, failed.
 */
etz_status etz_read(etz_context *context, uint64_t offset, void *dest, size_t size);

/**
 * Find the block, or the gap, that a byte of content lies in: to cut a range for several threads where no block is decoded
 * twice, or to find raw blocks that can be mapped. Checks the pages and the row, and reads no block.
 *
 * @param[in] offset Content offset, in bytes.
 * @param[out] block Filled on success.
 * @retval ETZ_RANGE `offset` is not below the content's size.
 * @return otherwise as etz_read().
 */
etz_status etz_find_block(etz_context *context, uint64_t offset, etz_block *block);

#ifdef __cplusplus
}
#endif
#endif
