/* Of LZ4's sources only what decodes; see zstd_decoder.c. */
#include "lz4.c"

extern __typeof__(LZ4_decompress_safe) LZ4_decompress_safe __attribute__((externally_visible));
