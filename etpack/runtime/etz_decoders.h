/**
 * @file
 * Decoders for the codecs of the format that need one, over liblz4 and libzstd. Each lies in a file of its own: compile
 * those that are wanted. Neither takes memory from a heap, and both are thread-safe.
 */
#ifndef ETZ_DECODERS_H
#define ETZ_DECODERS_H

#include "etz_reader.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Codec 3 over liblz4 (etz_decoder_lz4.c). It serves codec 4, LZ4 over bit planes, too. Needs no workspace. */
extern const etz_decoder etz_decoder_lz4;

/**
 * Codec 2 over libzstd (etz_decoder_zstd.c). Its workspace is a decoding context (ZSTD_initStaticDCtx), about 100 KB; the
 * exact size is in what etz_memory_needed() says.
 */
extern const etz_decoder etz_decoder_zstd;

#ifdef __cplusplus
}
#endif
#endif
