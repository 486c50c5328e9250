/* Measures how fast one core decodes, from memory to memory: packed models, and the same content in LZ4 and zstd alone.
 *
 *     decode_speed ROUNDS MODEL ETZ...
 *
 * MODEL is the plain file, and each ETZ is it, packed. Beside them stand memcpy, and the content cut into 64 KiB each of which
 * liblz4 (high compression, level 9) or libzstd (level 3) packed by itself, without checksums. Prints a line for each:
 *
 *     NAME STORED_BYTES BEST SECONDS SECONDS...
 *
 * with the seconds of each round over all of the content, in which they take turns, and before them the sum of each
 * mebibyte's fastest time of all rounds: on a machine with other work, the nearest to what the core can do.
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <lz4.h>
#include <lz4hc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "etz_decoders.h"

enum { FRAME = 64 << 10, PIECE = 1 << 20, LZ4_LEVEL = 9, ZSTD_LEVEL = 3, MAX_CONTESTANTS = 16 };

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

/* One contestant: `decode` writes `size` bytes of the content from `start` on, a multiple of PIECE. */
typedef struct contestant {
    const char *name;
    void (*decode)(struct contestant *self, size_t start, uint8_t *dest, size_t size);
    bytes stored;
    size_t *frame_ends;
    ZSTD_DCtx *zstd;
    etz_file file;
    etz_context context;
    double *best;
    double *rounds;
} contestant;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "decode_speed: %s: %s\n", what, which);
    exit(2);
}

static void *allocate(size_t size)
{
    void *data = NULL;
    if (posix_memalign(&data, 64, size ? size : 1))
        die("no memory", "posix_memalign");
    memset(data, 1, size);
    return data;
}

static bytes load_file(const char *path)
{
    FILE *stream = fopen(path, "rb");
    bytes file = {NULL, 0};
    if (!stream || fseek(stream, 0, SEEK_END))
        die("cannot read", path);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    file.data = allocate(file.size);
    if (fread(file.data, 1, file.size, stream) != file.size)
        die("cannot read", path);
    fclose(stream);
    return file;
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

static void decode_copy(contestant *self, size_t start, uint8_t *dest, size_t size)
{
    memcpy(dest, self->stored.data + start, size);
}

static void decode_frames(contestant *self, size_t start, uint8_t *dest, size_t size)
{
    for (size_t done = 0; done < size; done += FRAME) {
        const size_t frame = (start + done) / FRAME, wanted = smaller(FRAME, size - done);
        const size_t begin = frame ? self->frame_ends[frame - 1] : 0, stored = self->frame_ends[frame] - begin;
        const uint8_t *from = self->stored.data + begin;
        const size_t got = self->zstd ? ZSTD_decompressDCtx(self->zstd, dest + done, wanted, from, stored)
                                      : (size_t)LZ4_decompress_safe((const char *)from, (char *)dest + done,
                                                                    (int)stored, (int)wanted);
        if (got != wanted)
            die("cannot decode", self->name);
    }
}

static void decode_etz(contestant *self, size_t start, uint8_t *dest, size_t size)
{
    if (etz_read(&self->context, start, dest, size))
        die("cannot decode", self->name);
}

static void pack_frames(contestant *made, const char *name, bytes plain, int with_zstd)
{
    const size_t frames = (plain.size + FRAME - 1) / FRAME;
    const size_t bound = with_zstd ? ZSTD_compressBound(FRAME) : (size_t)LZ4_compressBound(FRAME);
    ZSTD_CCtx *packer = with_zstd ? ZSTD_createCCtx() : NULL;
    made->name = name;
    made->decode = decode_frames;
    made->zstd = with_zstd ? ZSTD_createDCtx() : NULL;
    made->frame_ends = allocate(frames * sizeof *made->frame_ends);
    made->stored.data = allocate(frames * bound);
    for (size_t frame = 0; frame < frames; frame++) {
        const uint8_t *from = plain.data + frame * FRAME;
        const size_t size = smaller(FRAME, plain.size - frame * FRAME);
        uint8_t *to = made->stored.data + made->stored.size;
        const size_t got = with_zstd ? ZSTD_compressCCtx(packer, to, bound, from, size, ZSTD_LEVEL)
                                     : (size_t)LZ4_compress_HC((const char *)from, (char *)to, (int)size, (int)bound,
                                                               LZ4_LEVEL);
        if (got == 0 || got > bound)
            die("cannot pack", name);
        made->stored.size += got;
        made->frame_ends[frame] = made->stored.size;
    }
    ZSTD_freeCCtx(packer);
}

static void open_etz(contestant *made, const char *path, bytes plain)
{
    static etz_decoder decoders[2];
    decoders[0] = etz_decoder_zstd;
    decoders[1] = etz_decoder_lz4;
    const etz_options options = {decoders, 2, etz_kernels_best(), NULL};
    etz_memory memory;
    made->name = path;
    made->decode = decode_etz;
    made->stored = load_file(path);
    const etz_source source = {NULL, NULL, made->stored.data, made->stored.size};
    if (etz_open(&made->file, &source, &options) || made->file.content_size != plain.size ||
        etz_memory_needed(&made->file, 1, &memory) ||
        etz_context_init(&made->context, &made->file, 1, allocate(memory.size), memory.size))
        die("cannot open, or not the model packed", path);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void run(contestant *one, size_t round, uint8_t *dest, bytes plain)
{
    double total = 0;
    for (size_t start = 0; start < plain.size; start += PIECE) {
        const size_t size = smaller(PIECE, plain.size - start);
        const double begin = now();
        one->decode(one, start, dest + start, size);
        const double spent = now() - begin;
        double *best = &one->best[start / PIECE];
        *best = round == 0 || spent < *best ? spent : *best;
        total += spent;
    }
    one->rounds[round] = total;
    /* Once for each: what is measured must be the right bytes. */
    if (round == 0 && memcmp(dest, plain.data, plain.size))
        die("the content is another", one->name);
}

int main(int argc, char **argv)
{
    static contestant all[MAX_CONTESTANTS];
    const int rounds = argc > 2 ? atoi(argv[1]) : 0;
    size_t count = 0;
    if (rounds < 1 || argc - 3 > MAX_CONTESTANTS - 3) {
        fprintf(stderr, "usage: decode_speed ROUNDS MODEL ETZ...\n");
        return 2;
    }
    const bytes plain = load_file(argv[2]);
    all[count].name = "memcpy";
    all[count].decode = decode_copy;
    all[count++].stored = plain;
    pack_frames(&all[count++], "lz4", plain, 0);
    pack_frames(&all[count++], "zstd", plain, 1);
    for (int i = 3; i < argc; i++)
        open_etz(&all[count++], argv[i], plain);
    const size_t pieces = (plain.size + PIECE - 1) / PIECE;
    uint8_t *dest = allocate(plain.size);
    for (size_t i = 0; i < count; i++) {
        all[i].best = allocate(pieces * sizeof *all[i].best);
        all[i].rounds = allocate((size_t)rounds * sizeof *all[i].rounds);
    }
    for (int round = 0; round < rounds; round++)
        for (size_t i = 0; i < count; i++)
            run(&all[i], (size_t)round, dest, plain);
    for (size_t i = 0; i < count; i++) {
        double best = 0;
        for (size_t piece = 0; piece < pieces; piece++)
            best += all[i].best[piece];
        printf("%s %zu %.6f", all[i].name, all[i].stored.size, best);
        for (int round = 0; round < rounds; round++)
            printf(" %.6f", all[i].rounds[round]);
        printf("\n");
    }
    return 0;
}
