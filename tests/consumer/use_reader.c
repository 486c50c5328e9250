/* Usage: use_reader FILE.etz, which writes the content to stdout: what a program of etpack's users may look like. */
#include <stdio.h>
#include <stdlib.h>

#include "etz_decoders.h"
#include "etz_reader.h"

static int read_file(void *user, uint64_t offset, void *dest, size_t size)
{
    return fseek(user, (long)offset, SEEK_SET) != 0 || fread(dest, 1, size, user) != size;
}

static etz_status copy(FILE *input, FILE *output)
{
    enum { CHUNK = 1 << 16 };
    static uint8_t chunk[CHUNK];
    etz_decoder decoders[2];
    size_t count = 0;
#ifndef ETZ_WITHOUT_LZ4
    decoders[count++] = etz_decoder_lz4;
#endif
#ifndef ETZ_WITHOUT_ZSTD
    decoders[count++] = etz_decoder_zstd;
#endif
    const etz_options options = {.decoders = decoders, .decoder_count = count, .kernels = etz_kernels_best()};
    etz_source source = {.read_at = read_file, .user = input};
    etz_file file;
    etz_context context;
    etz_memory memory;
    etz_status status;

    fseek(input, 0, SEEK_END);
    source.size = (uint64_t)ftell(input);
    if ((status = etz_open(&file, &source, &options)) != ETZ_OK)
        return status;
    if ((status = etz_memory_needed(&file, 1, &memory)) != ETZ_OK)
        return status;
    void *region = aligned_alloc(memory.alignment, (memory.size + memory.alignment - 1) / memory.alignment * memory.alignment);
    if (!region)
        return ETZ_MEMORY;
    status = etz_context_init(&context, &file, 1, region, memory.size);
    for (uint64_t done = 0; status == ETZ_OK && done < file.content_size;) {
        const uint64_t left = file.content_size - done;
        const size_t size = left < CHUNK ? (size_t)left : CHUNK;
        status = etz_read(&context, done, chunk, size);
        if (status == ETZ_OK && fwrite(chunk, 1, size, output) != size)
            status = ETZ_IO;
        done += size;
    }
    free(region);
    return status;
}

int main(int argc, char **argv)
{
    FILE *input = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!input)
        return 2;
    const etz_status status = copy(input, stdout);
    if (status != ETZ_OK)
        fprintf(stderr, "%s\n", etz_status_slug(status));
    fclose(input);
    return status != ETZ_OK;
}
