/**
 * @file
 * What an integrator may want to change: the limits that a reader sets by default. Define a macro before the build, or
 * fill an `etz_limits` at run time.
 */
#ifndef ETZ_CONFIG_H
#define ETZ_CONFIG_H

/** Bytes of content. */
#ifndef ETZ_LIMIT_CONTENT_SIZE
#define ETZ_LIMIT_CONTENT_SIZE (UINT64_C(1) << 36)
#endif

/** log2 of the bytes of content for each stored byte; looked at where there is more than 1 GiB of content. */
#ifndef ETZ_LIMIT_EXPANSION_LOG2
#define ETZ_LIMIT_EXPANSION_LOG2 14
#endif

/** Rows of the index; never more than 2^30, whatever is set here. */
#ifndef ETZ_LIMIT_BLOCKS
#define ETZ_LIMIT_BLOCKS (UINT32_C(1) << 24)
#endif

/** Rows of the extent table, all of which each context looks at once; never more than 2^30. */
#ifndef ETZ_LIMIT_EXTENTS
#define ETZ_LIMIT_EXTENTS (UINT32_C(1) << 20)
#endif

/** Bytes that decoding one block takes: the largest stored block, scratch for its planes, and a block of content. */
#ifndef ETZ_LIMIT_DECODE_MEMORY
#define ETZ_LIMIT_DECODE_MEMORY (UINT32_C(1) << 26)
#endif

#endif
