/* How a decompression engine is put into the reader: a mock one, a thread with a queue, that knows LZ4 and nothing else.
 *
 *     mock_engine FILE.etz [BATCH]
 *
 * The reader hands over the streams of BATCH blocks in one call. Here the call puts a descriptor for each into the engine's
 * queue, as a driver would into a ring that a DMA engine works off, and then waits once, for the last of them. So the engine is at
 * work on one stream while others wait, and is not asked and answered for each. Prints what the file has for content, how
 * often the engine was called, and the most descriptors that waited at once.
 */
#include <inttypes.h>
#include <lz4.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etz_reader.h"

enum {
    QUEUE = 64,
    /* What a real engine may ask of the addresses that it reads and writes. Files are packed for it: etpack compress --align 16. */
    STREAM_ALIGNMENT = 1,
    DEST_ALIGNMENT = 64
};

typedef struct engine {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Descriptors from `done` up to `given` wait, at these numbers modulo QUEUE. */
    etz_stream queue[QUEUE];
    uint64_t given;
    uint64_t done;
    uint64_t most_waiting;
    uint64_t calls;
    int failed;
    int stop;
} engine;

/* The hardware: takes descriptors in order. */
static void *run(void *user)
{
    engine *device = user;
    pthread_mutex_lock(&device->lock);
    for (;;) {
        while (device->done == device->given && !device->stop)
            pthread_cond_wait(&device->changed, &device->lock);
        if (device->done == device->given)
            break;
        const etz_stream stream = device->queue[device->done % QUEUE];
        pthread_mutex_unlock(&device->lock);
        const int size = LZ4_decompress_safe((const char *)stream.stored, (char *)stream.dest, (int)stream.stored_size,
                                             (int)stream.size);
        pthread_mutex_lock(&device->lock);
        if (size < 0 || (uint32_t)size != stream.size)
            device->failed = 1;
        device->done++;
        pthread_cond_broadcast(&device->changed);
    }
    pthread_mutex_unlock(&device->lock);
    return NULL;
}

/* The driver: an `etz_decoder::decode`. With one context there is one caller; several would each wait for the last. */
static etz_status decode(void *user, void *workspace, const etz_stream *streams, size_t count)
{
    engine *device = user;
    (void)workspace;
    pthread_mutex_lock(&device->lock);
    device->calls++;
    for (size_t i = 0; i < count; i++) {
        if (((uintptr_t)streams[i].dest & (DEST_ALIGNMENT - 1)) != 0)
            abort(); /* the reader said that this does not happen */
        while (device->given - device->done == QUEUE)
            pthread_cond_wait(&device->changed, &device->lock);
        device->queue[device->given++ % QUEUE] = streams[i];
        if (device->given - device->done > device->most_waiting)
            device->most_waiting = device->given - device->done;
        /* Rings the doorbell when the ring is full, or all is in it. */
        if (i + 1 == count || device->given - device->done == QUEUE)
            pthread_cond_broadcast(&device->changed);
    }
    while (device->done != device->given)
        pthread_cond_wait(&device->changed, &device->lock);
    const etz_status status = device->failed ? ETZ_CORRUPT : ETZ_OK;
    device->failed = 0;
    pthread_mutex_unlock(&device->lock);
    return status;
}

static int read_at(void *user, uint64_t offset, void *dest, size_t size)
{
    FILE *stream = user;
    return fseek(stream, (long)offset, SEEK_SET) || fread(dest, 1, size, stream) != size;
}

static int finish(const char *path, etz_status status)
{
    if (status)
        fprintf(stderr, "mock_engine: %s: %s\n", path, etz_status_slug(status));
    return status ? 1 : 0;
}

static etz_status read_content(const etz_file *file, uint32_t batch, uint32_t *crc)
{
    etz_memory memory;
    etz_context context;
    etz_status status = etz_memory_needed(file, batch, &memory);
    if (status)
        return status;
    uint8_t *region = aligned_alloc(memory.alignment, memory.size);
    uint8_t *content = aligned_alloc(DEST_ALIGNMENT, ((size_t)file->content_size / DEST_ALIGNMENT + 1) * DEST_ALIGNMENT);
    if (!region || !content)
        status = ETZ_MEMORY;
    if (!status)
        status = etz_context_init(&context, file, batch, region, memory.size);
    if (!status)
        status = etz_read(&context, 0, content, (size_t)file->content_size);
    if (!status) {
        *crc = file->kernels->crc32c(0, content, (size_t)file->content_size);
        printf("blocks decoded: %" PRIu64 "\n", context.counters.blocks_decoded);
    }
    free(content);
    free(region);
    return status;
}

int main(int argc, char **argv)
{
    static engine device;
    FILE *stream = argc > 1 ? fopen(argv[1], "rb") : NULL;
    const uint32_t batch = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 8;
    if (!stream || fseek(stream, 0, SEEK_END)) {
        fprintf(stderr, "usage: mock_engine FILE.etz [BATCH]\n");
        return 2;
    }
    pthread_mutex_init(&device.lock, NULL);
    pthread_cond_init(&device.changed, NULL);
    if (pthread_create(&device.thread, NULL, run, &device))
        return 2;

    const etz_decoder decoder = {ETZ_CODEC_LZ4, STREAM_ALIGNMENT, DEST_ALIGNMENT, &device, NULL, NULL, decode};
    const etz_source source = {read_at, stream, NULL, (uint64_t)ftell(stream)};
    const etz_options options = {&decoder, 1, etz_kernels_best(), NULL};
    etz_file file;
    uint32_t crc = 0;
    etz_status status = etz_open(&file, &source, &options);
    if (!status)
        status = read_content(&file, batch, &crc);

    pthread_mutex_lock(&device.lock);
    device.stop = 1;
    pthread_cond_broadcast(&device.changed);
    pthread_mutex_unlock(&device.lock);
    pthread_join(device.thread, NULL);
    fclose(stream);
    if (!status)
        printf("content: %" PRIu64 " bytes, CRC-32C %08" PRIx32 "\nengine: %" PRIu64 " streams in %" PRIu64
               " calls, at most %" PRIu64 " waiting\n",
               file.content_size, crc, device.done, device.calls, device.most_waiting);
    return finish(argv[1], status);
}
