/* Reads files with the C reader as a test asks, and says what came of it.
 *
 *     etz_check [OPTIONS] FILE...     one line for each file:
 *     FILE open=SLUG read=SLUG released=BYTES crc=CRC32C blocks=N decoded=N reads=N bytes=N calls=N streams=N
 *
 *     --memory           the file's bytes as memory; otherwise by a callback that copies from them
 *     --file             by a callback that reads the file, which may be larger than memory
 *     --portable         portable kernels; otherwise the best ones
 *     --batch N          blocks decoded together
 *     --blocks           block by block, until one fails: `released` is what came before, zeros of gaps with it
 *     --ranges TEXT      instead: the file TEXT has lines of "OFFSET SIZE"; prints "OFFSET SIZE SLUG CRC32C" for each,
 *                        and with --count the counters at last
 *     --without CODEC    no decoder for this codec
 *     --aligned N        decoders that want streams at multiples of N
 *     --limit NAME=N     content_size, expansion_log2, blocks, extents or decode_memory
 *     --fail N           the callback fails at its Nth call, counted from 1
 *     --less N           give a context a region that is N bytes too small, and --shift N one that is off by N bytes
 *     --needs            instead: print the bytes of memory that a context needs
 *     --bench SECONDS    read all of it again and again; prints GB/s of content, the fastest turn of each piece
 *     --list             files are not the arguments: each argument is a file with one path a line
 *
 * Ends with 0 if everything was done, whatever came of it; with 2 if an argument or the machine was at fault.
 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64 /* or a file ends at 2 GiB on 32-bit machines */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "etz_decoders.h"

typedef struct settings {
    int in_memory;
    int in_file;
    int by_block;
    int count;
    int needs;
    uint32_t batch;
    const char *ranges;
    const etz_kernels *kernels;
    etz_limits limits;
    etz_decoder decoders[2];
    size_t decoder_count;
    unsigned long fail_at;
    size_t less;
    size_t shift;
    double bench;
} settings;

typedef struct bytes {
    uint8_t *data;
    uint64_t size;
} bytes;

/* A source that counts, and fails when it is told to. */
typedef struct fake_device {
    bytes stored;
    /* NULL if the bytes are in memory. */
    FILE *stream;
    unsigned long calls;
    unsigned long fail_at;
} fake_device;

static void die(const char *what, const char *which)
{
    fprintf(stderr, "etz_check: %s: %s\n", what, which);
    exit(2);
}

static size_t addressable(uint64_t size)
{
    if (size > SIZE_MAX / 2)
        die("it is more than this machine can address", "malloc");
    return (size_t)size;
}

static void *allocate(size_t size)
{
    void *data = malloc(size ? size : 1);
    if (!data)
        die("no memory", "malloc");
    return data;
}

static fake_device open_device(const char *path, const settings *set)
{
    fake_device device = {{NULL, 0}, fopen(path, "rb"), 0, set->fail_at};
    if (!device.stream || fseeko(device.stream, 0, SEEK_END))
        die("cannot read", path);
    device.stored.size = (uint64_t)ftello(device.stream);
    if (set->in_file)
        return device;
    rewind(device.stream);
    const size_t size = addressable(device.stored.size);
    /* No byte more: a sanitizer then sees every byte that is read behind the end. */
    device.stored.data = allocate(size);
    if (fread(device.stored.data, 1, size, device.stream) != size)
        die("cannot read", path);
    fclose(device.stream);
    device.stream = NULL;
    return device;
}

static void close_device(fake_device *device)
{
    if (device->stream)
        fclose(device->stream);
    free(device->stored.data);
}

static int read_device(void *user, uint64_t offset, void *dest, size_t size)
{
    fake_device *device = user;
    device->calls++;
    if (device->calls == device->fail_at)
        return -1;
    if (size == 0 || offset > device->stored.size || size > device->stored.size - offset)
        die("the reader asked for what is not there", "read_at");
    if (device->stream)
        return fseeko(device->stream, (off_t)offset, SEEK_SET) || fread(dest, 1, size, device->stream) != size;
    memcpy(dest, device->stored.data + offset, size);
    return 0;
}

/* A context and the memory it is in; the region ends where it must, so that a sanitizer sees what goes over it. */
typedef struct reader {
    etz_context context;
    uint8_t *allocation;
} reader;

static etz_status start(reader *made, const etz_file *file, const settings *set)
{
    etz_memory memory;
    memset(made, 0, sizeof *made);
    etz_status status = etz_memory_needed(file, set->batch, &memory);
    if (status)
        return status;
    const size_t size = memory.size > set->less ? memory.size - set->less : 0;
    made->allocation = allocate(size + 2 * memory.alignment);
    const size_t misplaced = (uintptr_t)made->allocation & (memory.alignment - 1);
    uint8_t *region = made->allocation + (memory.alignment - misplaced) + set->shift;
    /* What was in the region before must not matter. */
    memset(region, 0xA5, size);
    return etz_context_init(&made->context, file, set->batch, region, size);
}

static uint32_t crc_of(const void *data, size_t size)
{
    return etz_kernels_portable.crc32c(0, data, size);
}

static etz_status read_by_block(etz_context *context, uint8_t *dest, uint64_t *released, uint64_t *blocks)
{
    while (*released < context->file->content_size) {
        etz_block block;
        etz_status status = etz_find_block(context, *released, &block);
        if (status)
            return status;
        if (block.content_offset != *released)
            die("a block does not begin where the one before ends", "etz_find_block");
        if ((status = etz_read(context, *released, dest + *released, (size_t)block.content_size)) != ETZ_OK)
            return status;
        *released += block.content_size;
        *blocks += block.number != ETZ_NO_BLOCK;
    }
    return ETZ_OK;
}

static void read_ranges(etz_context *context, const char *path)
{
    FILE *list = fopen(path, "r");
    uint64_t offset, size;
    if (!list)
        die("cannot read", path);
    while (fscanf(list, "%" SCNu64 " %" SCNu64, &offset, &size) == 2) {
        uint8_t *dest = allocate(addressable(size));
        memset(dest, 0x5A, (size_t)size);
        const etz_status status = etz_read(context, offset, dest, (size_t)size);
        printf("%" PRIu64 " %" PRIu64 " %s %08" PRIx32 "\n", offset, size, etz_status_slug(status),
               crc_of(dest, (size_t)size));
        free(dest);
    }
    fclose(list);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Other processes come and go: of each piece of the content the fastest of many turns counts. Every turn is over all of the content,
 * so that stored bytes come from memory and not from a cache. Without a context it measures memcpy. */
static double best_rate(etz_context *context, uint8_t *dest, size_t size, double seconds)
{
    enum { PIECE = 1 << 20 };
    const size_t pieces = (size + PIECE - 1) / PIECE;
    double *best = allocate(pieces * sizeof *best), total = 0;
    uint8_t *from = allocate(size);
    memset(from, 1, size);
    memset(dest, 1, size);
    for (size_t i = 0; i < pieces; i++)
        best[i] = seconds;
    for (const double end = now() + seconds; now() < end;) {
        for (size_t i = 0; i < pieces; i++) {
            const size_t start = i * PIECE, here = size - start < PIECE ? size - start : PIECE;
            const double begin = now();
            if (!context)
                memcpy(dest + start, from + start, here);
            else if (etz_read(context, start, dest + start, here))
                die("a file for a benchmark must be good", "etz_read");
            const double spent = now() - begin;
            best[i] = spent < best[i] ? spent : best[i];
        }
        /* Or the compiler sees that nobody reads what was copied. */
        from[0] = (uint8_t)(from[0] + dest[size - 1]);
    }
    for (size_t i = 0; i < pieces; i++)
        total += best[i];
    free(best);
    free(from);
    return (double)size / total * 1e-9;
}

static void print_outcome(const char *path, etz_status status, const uint8_t *dest, uint64_t released, uint64_t blocks,
                          const etz_counters *counted)
{
    printf("%s open=ok read=%s released=%" PRIu64 " crc=%08" PRIx32 " blocks=%" PRIu64 " decoded=%" PRIu64
           " reads=%" PRIu64 " bytes=%" PRIu64 " calls=%" PRIu64 " streams=%" PRIu64 "\n",
           path, etz_status_slug(status), released, crc_of(dest, (size_t)released), blocks, counted->blocks_decoded,
           counted->reads, counted->bytes_read, counted->decoder_calls, counted->streams_decoded);
}

static void read_file(const char *path, const settings *set)
{
    fake_device device = open_device(path, set);
    const etz_options options = {set->decoders, set->decoder_count, set->kernels, &set->limits};
    etz_source source = {set->in_memory ? NULL : read_device, &device, device.stored.data, device.stored.size};
    etz_file file;
    reader made;
    const etz_status opened = etz_open(&file, &source, &options);
    if (opened) {
        printf("%s open=%s\n", path, etz_status_slug(opened));
        close_device(&device);
        return;
    }
    if (set->needs) {
        etz_memory memory;
        if (etz_memory_needed(&file, set->batch, &memory))
            die("no memory is enough", path);
        printf("%s %lu\n", path, (unsigned long)memory.size);
        close_device(&device);
        return;
    }
    etz_status status = start(&made, &file, set);
    uint64_t released = 0, blocks = 0;
    uint8_t *dest = allocate(set->ranges ? 0 : addressable(file.content_size));
    if (!status && set->bench > 0) {
        printf("%s bytes=%" PRIu64 " copy=%.2f read=%.2f GB/s\n", path, file.content_size,
               best_rate(NULL, dest, (size_t)file.content_size, set->bench / 4),
               best_rate(&made.context, dest, (size_t)file.content_size, set->bench));
    } else {
        if (!status && set->ranges)
            read_ranges(&made.context, set->ranges);
        else if (!status && set->by_block)
            status = read_by_block(&made.context, dest, &released, &blocks);
        else if (!status && (status = etz_read(&made.context, 0, dest, (size_t)file.content_size)) == ETZ_OK)
            released = file.content_size;
        if (!set->ranges || set->count)
            print_outcome(path, status, dest, released, blocks, &made.context.counters);
    }
    free(made.allocation);
    free(dest);
    close_device(&device);
}

static void read_listed(const char *list_path, const settings *set)
{
    FILE *list = fopen(list_path, "r");
    char path[4096];
    if (!list)
        die("cannot read", list_path);
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        read_file(path, set);
    }
    fclose(list);
}

static void set_limit(etz_limits *limits, const char *text)
{
    const char *value = strchr(text, '=');
    const size_t length = value ? (size_t)(value - text) : 0;
    const uint64_t number = value ? strtoull(value + 1, NULL, 10) : 0;
    if (length == 12 && !strncmp(text, "content_size", length))
        limits->content_size = number;
    else if (length == 14 && !strncmp(text, "expansion_log2", length))
        limits->expansion_log2 = (uint32_t)number;
    else if (length == 6 && !strncmp(text, "blocks", length))
        limits->blocks = (uint32_t)number;
    else if (length == 7 && !strncmp(text, "extents", length))
        limits->extents = (uint32_t)number;
    else if (length == 13 && !strncmp(text, "decode_memory", length))
        limits->decode_memory = number;
    else
        die("no such limit", text);
}

static void drop_decoder(settings *set, unsigned long codec)
{
    size_t kept = 0;
    for (size_t i = 0; i < set->decoder_count; i++)
        if (set->decoders[i].codec != codec)
            set->decoders[kept++] = set->decoders[i];
    set->decoder_count = kept;
}

int main(int argc, char **argv)
{
    static const etz_limits limits = ETZ_DEFAULT_LIMITS;
    settings set;
    int listed = 0, i = 1;
    memset(&set, 0, sizeof set);
    set.batch = 1;
    set.kernels = etz_kernels_best();
    set.limits = limits;
    set.decoders[0] = etz_decoder_zstd;
    set.decoders[1] = etz_decoder_lz4;
    set.decoder_count = 2;
    for (; i < argc && !strncmp(argv[i], "--", 2); i++) {
        const char *option = argv[i] + 2, *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(option, "memory")) { set.in_memory = 1; continue; }
        if (!strcmp(option, "file")) { set.in_file = 1; continue; }
        if (!strcmp(option, "portable")) { set.kernels = NULL; continue; }
        if (!strcmp(option, "blocks")) { set.by_block = 1; continue; }
        if (!strcmp(option, "count")) { set.count = 1; continue; }
        if (!strcmp(option, "needs")) { set.needs = 1; continue; }
        if (!strcmp(option, "list")) { listed = 1; continue; }
        i++;
        if (!strcmp(option, "batch"))
            set.batch = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(option, "ranges"))
            set.ranges = value;
        else if (!strcmp(option, "without"))
            drop_decoder(&set, strtoul(value, NULL, 10));
        else if (!strcmp(option, "aligned"))
            for (size_t k = 0; k < set.decoder_count; k++)
                set.decoders[k].stream_alignment = (uint32_t)strtoul(value, NULL, 10);
        else if (!strcmp(option, "limit"))
            set_limit(&set.limits, value);
        else if (!strcmp(option, "fail"))
            set.fail_at = strtoul(value, NULL, 10);
        else if (!strcmp(option, "less"))
            set.less = strtoul(value, NULL, 10);
        else if (!strcmp(option, "shift"))
            set.shift = strtoul(value, NULL, 10);
        else if (!strcmp(option, "bench"))
            set.bench = strtod(value, NULL);
        else
            die("no such option", option);
    }
    for (; i < argc; i++)
        (listed ? read_listed : read_file)(argv[i], &set);
    return 0;
}
