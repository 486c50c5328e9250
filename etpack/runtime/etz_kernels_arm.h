/* Kernels for little-endian AArch64. Not for users of the reader. */
#ifndef ETZ_KERNELS_ARM_H
#define ETZ_KERNELS_ARM_H

#include "etz_kernels.h"

#if defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define ETZ_HAVE_ARM64 1
/* With the CRC instructions, and without them. */
extern const etz_kernels etz_kernels_neon_crc;
extern const etz_kernels etz_kernels_neon;
#endif

#endif
