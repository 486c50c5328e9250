/* Kernels for x86-64 with SSE4.2 and with AVX2, and whether this processor has those. Not for users of the reader. */
#ifndef ETZ_KERNELS_X86_H
#define ETZ_KERNELS_X86_H

#include "etz_kernels.h"

#if (defined(__x86_64__) && defined(__GNUC__)) || (defined(_M_X64) && defined(_MSC_VER) && !defined(_M_ARM64EC))
#define ETZ_HAVE_X86 1
extern const etz_kernels etz_kernels_sse42;
extern const etz_kernels etz_kernels_avx2;
#endif

#endif
