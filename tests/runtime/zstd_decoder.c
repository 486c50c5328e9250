/* Of zstd's sources only what decodes. With -fwhole-program the compiler drops the rest before it costs time or shows up in sizes. */
#define ZSTD_STATIC_LINKING_ONLY
#include "zstd.c"

#define KEEP(function) extern __typeof__(function) function __attribute__((externally_visible))
KEEP(ZSTD_decompressDCtx);
KEEP(ZSTD_estimateDCtxSize);
KEEP(ZSTD_initStaticDCtx);
KEEP(ZSTD_isError);
