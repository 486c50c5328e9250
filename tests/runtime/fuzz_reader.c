/* For libFuzzer: any bytes are read without harm, and the same way by every route.
 *
 * Without libFuzzer (ETZ_WITHOUT_LIBFUZZER) it is a plain program that runs over the files it is given, and over each of them with
 * some bytes changed. Checksums are made to match before reading, so that what lies behind them is reached.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "etz_decoders.h"

enum { MOST_CONTENT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct stored_bytes {
    const uint8_t *data;
    size_t size;
} stored_bytes;

static int read_stored(void *user, uint64_t offset, void *dest, size_t size)
{
    const stored_bytes *stored = user;
    if (offset > stored->size || size > stored->size - offset)
        abort();
    memcpy(dest, stored->data + offset, size);
    return 0;
}

typedef struct outcome {
    etz_status status;
    uint32_t crc;
} outcome;

static outcome read_all(const etz_file *file, uint32_t batch, size_t step)
{
    outcome result = {ETZ_OK, 0};
    etz_memory memory;
    etz_context context;
    if (etz_memory_needed(file, batch, &memory))
        abort();
    if (step > file->content_size)
        step = (size_t)file->content_size + 1;
    uint8_t *allocation = malloc(memory.size + memory.alignment), *dest = malloc(step);
    uint8_t *region = allocation + (memory.alignment - ((uintptr_t)allocation & (memory.alignment - 1)));
    if (!allocation || !dest)
        abort();
    result.status = etz_context_init(&context, file, batch, region, memory.size);
    for (uint64_t offset = 0; !result.status && offset < file->content_size;) {
        const uint64_t rest = file->content_size - offset;
        const size_t here = rest < step ? (size_t)rest : step;
        result.status = etz_read(&context, offset, dest, here);
        result.crc = etz_kernels_portable.crc32c(result.crc, dest, here);
        offset += here;
    }
    free(allocation);
    free(dest);
    return result;
}

static void read_every_way(const uint8_t *data, size_t size, const etz_kernels *kernels)
{
    static const etz_limits limits = {MOST_CONTENT, ETZ_LIMIT_EXPANSION_LOG2, 1 << 16, 1 << 12, 1 << 24};
    const etz_decoder decoders[] = {etz_decoder_zstd, etz_decoder_lz4};
    const etz_options options = {decoders, 2, kernels, &limits};
    stored_bytes stored = {data, size};
    const etz_source memory = {NULL, NULL, data, size}, callback = {read_stored, &stored, NULL, size};
    etz_file in_place, fetched;
    const etz_status status = etz_open(&in_place, &memory, &options);
    if (etz_open(&fetched, &callback, &options) != status)
        abort();
    if (status)
        return;
    const outcome whole = read_all(&in_place, 1, MOST_CONTENT), batched = read_all(&fetched, 5, MOST_CONTENT);
    const outcome steps = read_all(&fetched, 2, 3000);
    if (whole.status != ETZ_OK ? !batched.status || !steps.status : batched.crc != whole.crc || steps.crc != whole.crc)
        abort();
}

static uint64_t number(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    while (size--)
        value = value << 8 | bytes[size];
    return value;
}

static void seal(uint8_t *place, const uint8_t *from, size_t size, const uint8_t *more, size_t more_size)
{
    uint32_t crc = etz_kernels_portable.crc32c(0, from, size);
    crc = etz_kernels_portable.crc32c(crc, more, more_size);
    for (unsigned i = 0; i < 4; i++)
        place[i] = (uint8_t)(crc >> (8 * i));
}

/* Make the checksums of stored blocks, and then those of the pages of a table, right. */
static void seal_table(uint8_t *data, size_t size, uint32_t type, uint64_t start, uint64_t table_size)
{
    for (uint64_t page = 0; page * ETZ_PAGE_SIZE < table_size; page++) {
        uint8_t *rows = data + start + page * ETZ_PAGE_SIZE, place[8] = {0};
        const uint64_t rest = table_size - page * ETZ_PAGE_SIZE, page_size = rest < ETZ_PAGE_SIZE ? rest : ETZ_PAGE_SIZE;
        if (page_size < ETZ_CRC_SIZE)
            return;
        for (uint64_t row = 0; type == ETZ_SECTION_INDEX && row + ETZ_ROW_SIZE < page_size; row += ETZ_ROW_SIZE) {
            const uint64_t offset = number(rows + row, 6), stored_size = number(rows + row + ETZ_INDEX_SIZE, 4);
            if (stored_size && offset <= size && stored_size <= size - offset)
                seal(rows + row + ETZ_INDEX_CRC, data + offset, (size_t)stored_size, place, 0);
        }
        for (unsigned i = 0; i < 4; i++) {
            place[i] = (uint8_t)(type >> (8 * i));
            place[4 + i] = (uint8_t)(page >> (8 * i));
        }
        seal(rows + page_size - ETZ_CRC_SIZE, rows, (size_t)page_size - ETZ_CRC_SIZE, place, sizeof place);
    }
}

/* Make checksums right wherever what they cover can be found. */
static void seal_file(uint8_t *data, size_t size)
{
    if (size < ETZ_HEADER_SIZE + ETZ_FOOTER_SIZE)
        return;
    uint8_t *footer = data + size - ETZ_FOOTER_SIZE;
    const size_t count = (size_t)number(footer + ETZ_FOOTER_SECTION_COUNT, 2);
    seal(data + ETZ_HEADER_CRC, data, ETZ_HEADER_CRC, data, 0);
    if (count * ETZ_SECTION_ROW_SIZE <= size - ETZ_FOOTER_SIZE) {
        uint8_t *table = footer - count * ETZ_SECTION_ROW_SIZE;
        for (const uint8_t *row = table; row < footer; row += ETZ_SECTION_ROW_SIZE) {
            const uint64_t start = number(row + ETZ_SECTION_OFFSET, 6), bytes = number(row + ETZ_SECTION_BYTES, 6);
            const uint32_t type = (uint32_t)number(row, 2);
            if (type <= ETZ_SECTION_EXTENTS && start <= size && bytes <= size - start)
                seal_table(data, size, type, start, bytes);
        }
        seal(footer + ETZ_FOOTER_SECTION_TABLE_CRC, table, (size_t)(footer - table), data, 0);
    }
    seal(footer + ETZ_FOOTER_CRC, footer, ETZ_FOOTER_CRC, data, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_every_way(data, size, etz_kernels_best());
    uint8_t *sealed = malloc(size ? size : 1);
    if (!sealed)
        abort();
    memcpy(sealed, data, size);
    seal_file(sealed, size);
    read_every_way(sealed, size, &etz_kernels_portable);
    free(sealed);
    return 0;
}

#if defined(ETZ_WITHOUT_LIBFUZZER)

static uint32_t random_state = 1;

static uint32_t next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

int main(int argc, char **argv)
{
    enum { ROUNDS = 200, MOST = 1 << 20 };
    unsigned long runs = 0;
    uint8_t *data = malloc(MOST), *changed = malloc(MOST);
    if (!data || !changed)
        return 2;
    for (int i = 1; i < argc; i++) {
        FILE *stream = fopen(argv[i], "rb");
        if (!stream)
            return 2;
        const size_t size = fread(data, 1, MOST, stream);
        fclose(stream);
        LLVMFuzzerTestOneInput(data, size);
        runs++;
        for (int round = 0; round < ROUNDS && size; round++) {
            memcpy(changed, data, size);
            for (uint32_t edits = 1 + next_random() % 4; edits; edits--)
                changed[next_random() % size] = next_random() % 3 ? (uint8_t)next_random() : 0;
            LLVMFuzzerTestOneInput(changed, next_random() % 8 ? size : next_random() % size);
            runs++;
        }
    }
    free(data);
    free(changed);
    printf("%lu runs\n", runs);
    return 0;
}

#endif
