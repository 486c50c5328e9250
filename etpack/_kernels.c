/* The inner loops of etpack.filters, etpack.probe and etpack.selfcheck, for many blocks a call; what takes long does without the GIL.
 *
 * Each function does what the numpy code beside its caller does, bit for bit; etpack works without this module,
 * only slower. Little-endian machines only. Nothing here allocates by what a file says: all buffers come from
 * the caller, and their sizes are checked before the first byte is touched.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, SYMBOLS = 256, MAX_WIDTH = 8, PLAIN_COLUMNS = 15 };
/* Below this many bytes the GIL is kept: a thread that lets it go waits longer to get it back than the work takes. */
enum { WORTH_RELEASING = 256 << 10 };

/* Vectors as wide as the processor has, where compiler and loader can choose at run time. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* Elements are taken a chunk at a time into a local array: the source may lie at any address, and the compiler
 * makes vector code of the short loops. */
#define DEFINE_FILTER(T, WIDTH)                                                                                       \
    FOR_EACH_PROCESSOR                                                                                                \
    static void split_##WIDTH(const uint8_t *block, size_t count, int rotated, uint8_t *const *planes)                \
    {                                                                                                                 \
        T elements[CHUNK];                                                                                            \
        for (size_t start = 0; start < count; start += CHUNK) {                                                       \
            size_t here = count - start < CHUNK ? count - start : CHUNK;                                              \
            memcpy(elements, block + start * WIDTH, here * WIDTH);                                                    \
            if (rotated)                                                                                              \
                for (size_t i = 0; i < here; i++)                                                                     \
                    elements[i] = (T)((T)(elements[i] << 1) | (T)(elements[i] >> (8 * WIDTH - 1)));                   \
            for (int k = 0; k < WIDTH; k++) {                                                                         \
                uint8_t *plane = planes[k] + start;                                                                   \
                for (size_t i = 0; i < here; i++)                                                                     \
                    plane[i] = (uint8_t)(elements[i] >> (8 * k));                                                     \
            }                                                                                                         \
        }                                                                                                             \
    }                                                                                                                 \
    FOR_EACH_PROCESSOR                                                                                                \
    static void merge_##WIDTH(const uint8_t *const *planes, size_t count, int rotated, uint8_t *block)                \
    {                                                                                                                 \
        T elements[CHUNK];                                                                                            \
        for (size_t start = 0; start < count; start += CHUNK) {                                                       \
            size_t here = count - start < CHUNK ? count - start : CHUNK;                                              \
            for (size_t i = 0; i < here; i++) {                                                                       \
                T element = 0;                                                                                        \
                for (int k = 0; k < WIDTH; k++)                                                                       \
                    element |= (T)((T)planes[k][start + i] << (8 * k));                                               \
                elements[i] = element;                                                                                \
            }                                                                                                         \
            if (rotated)                                                                                              \
                for (size_t i = 0; i < here; i++)                                                                     \
                    elements[i] = (T)((T)(elements[i] >> 1) | (T)(elements[i] << (8 * WIDTH - 1)));                   \
            memcpy(block + start * WIDTH, elements, here * WIDTH);                                                    \
        }                                                                                                             \
    }

DEFINE_FILTER(uint16_t, 2)
DEFINE_FILTER(uint32_t, 4)
DEFINE_FILTER(uint64_t, 8)

static int is_width(int width)
{
    return width == 2 || width == 4 || width == 8;
}

/* Whether so many blocks can be multiplied by what one has of planes or columns. */
static int is_count(Py_ssize_t blocks)
{
    return blocks >= 0 && blocks <= PY_SSIZE_T_MAX / PLAIN_COLUMNS;
}

static PyObject *wrong_shape(void)
{
    PyErr_SetString(PyExc_ValueError, "the buffers do not have the sizes, or the alignment, that go with each other");
    return NULL;
}

/* Whether `buffer` holds exactly blocks * size bytes. */
static int holds(const Py_buffer *buffer, Py_ssize_t blocks, Py_ssize_t size)
{
    return blocks >= 0 && size >= 0 && (size == 0 || blocks <= PY_SSIZE_T_MAX / size) && buffer->len == blocks * size;
}

/* Whether numbers of so many bytes can lie at the start of `buffer`. */
static int is_aligned(const Py_buffer *buffer, size_t size)
{
    return (uintptr_t)buffer->buf % size == 0;
}

PyDoc_STRVAR(split_doc, "split(contents, blocks, width, rotated, planes)\n\n"
                        "Fill `planes`, (width, blocks, n // width) bytes, from `contents`, (blocks, n) bytes.");

static PyObject *split(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer contents, planes;
    Py_ssize_t blocks;
    int width, rotated;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*nipw*", &contents, &blocks, &width, &rotated, &planes))
        return NULL;
    Py_ssize_t size = blocks > 0 ? contents.len / blocks : 0;
    Py_ssize_t count = is_width(width) ? size / width : 0;
    if (!is_width(width) || !is_count(blocks) || !holds(&contents, blocks, size) || !holds(&planes, blocks * width, count)) {
        result = wrong_shape();
    } else {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t b = 0; count > 0 && b < blocks; b++) {
            const uint8_t *block = (const uint8_t *)contents.buf + b * size;
            uint8_t *of_block[MAX_WIDTH];
            for (int k = 0; k < width; k++)
                of_block[k] = (uint8_t *)planes.buf + (k * blocks + b) * count;
            if (width == 2)
                split_2(block, (size_t)count, rotated, of_block);
            else if (width == 4)
                split_4(block, (size_t)count, rotated, of_block);
            else
                split_8(block, (size_t)count, rotated, of_block);
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&contents);
    PyBuffer_Release(&planes);
    return result;
}

/* The buffers of a sequence's items; to be given back by `release`. */
typedef struct {
    PyObject *items;
    Py_buffer *buffers;
    Py_ssize_t count;
} Buffers;

static void release(Buffers *taken)
{
    while (taken->count > 0)
        PyBuffer_Release(&taken->buffers[--taken->count]);
    PyMem_Free(taken->buffers);
    Py_XDECREF(taken->items);
}

/* Take the buffers of all items, or raise and return 0; `release` is due either way. */
static int take(Buffers *taken, PyObject *sequence, int flags)
{
    taken->buffers = NULL;
    taken->count = 0;
    /* A copy of a list: taking a buffer may run code that changes the original. */
    if (!(taken->items = PySequence_Tuple(sequence)))
        return 0;
    Py_ssize_t count = PyTuple_GET_SIZE(taken->items);
    if (!(taken->buffers = PyMem_Calloc((size_t)count + 1, sizeof *taken->buffers))) {
        PyErr_NoMemory();
        return 0;
    }
    for (; taken->count < count; taken->count++)
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(taken->items, taken->count), &taken->buffers[taken->count], flags))
            return 0;
    return 1;
}

static void merge_blocks(const Buffers *planes, int width, int rotated, const Buffers *outs)
{
    for (Py_ssize_t b = 0; b < outs->count; b++) {
        const uint8_t *of_block[MAX_WIDTH];
        for (int k = 0; k < width; k++)
            of_block[k] = planes->buffers[b * width + k].buf;
        size_t count = (size_t)(outs->buffers[b].len / width);
        if (width == 2)
            merge_2(of_block, count, rotated, outs->buffers[b].buf);
        else if (width == 4)
            merge_4(of_block, count, rotated, outs->buffers[b].buf);
        else
            merge_8(of_block, count, rotated, outs->buffers[b].buf);
    }
}

PyDoc_STRVAR(merge_doc, "merge(planes, width, rotated, outs)\n\n"
                        "Undo split: fill the elements of each of `outs`, buffers of n bytes, from `planes`, a sequence of\n"
                        "width buffers of n // width bytes for each of them, those of the first first.");

static PyObject *merge(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *plane_sequence, *out_sequence, *result = NULL;
    Buffers planes, outs;
    int width, rotated;
    if (!PyArg_ParseTuple(args, "OipO", &plane_sequence, &width, &rotated, &out_sequence))
        return NULL;
    if (!take(&planes, plane_sequence, PyBUF_SIMPLE)) {
        release(&planes);
        return NULL;
    }
    if (!take(&outs, out_sequence, PyBUF_WRITABLE))
        goto done;
    int fits = is_width(width) && planes.count % width == 0 && planes.count / width == outs.count;
    Py_ssize_t total = 0;
    for (Py_ssize_t p = 0; fits && p < planes.count; p++) {
        fits = planes.buffers[p].len == outs.buffers[p / width].len / width;
        total += planes.buffers[p].len;
    }
    if (!fits) {
        wrong_shape();
    } else {
        PyThreadState *state = total >= WORTH_RELEASING ? PyEval_SaveThread() : NULL;
        merge_blocks(&planes, width, rotated, &outs);
        if (state)
            PyEval_RestoreThread(state);
        result = Py_NewRef(Py_None);
    }
done:
    release(&outs);
    release(&planes);
    return result;
}

/* Sum the costs of a histogram's counts. */
static int64_t total(const uint32_t *histogram, const int32_t *costs)
{
    int64_t sum = 0;
    for (int symbol = 0; symbol < SYMBOLS; symbol++)
        sum += costs[histogram[symbol]];
    return sum;
}

/* Count the bytes of a sample by their place in an element. Inline, so that each width becomes a loop of its own. */
static inline void count_bytes(const uint8_t *sample, size_t size, size_t width, uint32_t histograms[][SYMBOLS])
{
    memset(histograms, 0, width * sizeof histograms[0]);
    for (size_t i = 0; i < size; i += width)
        for (size_t k = 0; k < width; k++)
            histograms[k][sample[i + k]]++;
}

static void rotate_sample(uint8_t *sample, size_t size, size_t width)
{
    for (size_t i = 0; i < size; i += width) {
        uint8_t carry = sample[i + width - 1] >> 7;
        for (size_t k = 0; k < width; k++) {
            uint8_t next = sample[i + k] >> 7;
            sample[i + k] = (uint8_t)(sample[i + k] << 1 | carry);
            carry = next;
        }
    }
}

/* The totals for elements of 1, 2, 4 and 8 bytes, in this order; a wide element's histograms make up a narrow one's. */
static void plain_totals(const uint8_t *sample, size_t size, const int32_t *costs, int64_t *out)
{
    uint32_t histograms[MAX_WIDTH][SYMBOLS];
    count_bytes(sample, size, MAX_WIDTH, histograms);
    for (int width = MAX_WIDTH; width > 0; width /= 2) {
        for (int k = 0; k < width; k++)
            out[width - 1 + k] = total(histograms[k], costs);
        for (int k = 0; k < width / 2; k++)
            for (int symbol = 0; symbol < SYMBOLS; symbol++)
                histograms[k][symbol] += histograms[width / 2 + k][symbol];
    }
}

PyDoc_STRVAR(totals_doc, "totals(samples, blocks, width, costs, out)\n\n"
                         "Fill `out`, int64 of (blocks, columns), with what the histograms of `samples`, (blocks, n) bytes, cost,\n"
                         "by `costs`, int32 of (n + 1,) or more; n is a multiple of 8. Width 0: 15 columns, for elements of 1, 2, 4, 8 bytes as they\n"
                         "are; else a column for each plane of elements of that width rotated left by one bit.");

static PyObject *totals(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer samples, costs, out;
    Py_ssize_t blocks;
    int width;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*niy*w*", &samples, &blocks, &width, &costs, &out))
        return NULL;
    Py_ssize_t size = blocks > 0 ? samples.len / blocks : 0;
    Py_ssize_t columns = width ? width : PLAIN_COLUMNS;
    uint8_t *rotated = NULL;
    if (!(width == 0 || is_width(width)) || !is_count(blocks) || !holds(&samples, blocks, size) || size % MAX_WIDTH
        || costs.len / (Py_ssize_t)sizeof(int32_t) <= size || !holds(&out, blocks * columns, (Py_ssize_t)sizeof(int64_t))
        || !is_aligned(&costs, sizeof(int32_t)) || !is_aligned(&out, sizeof(int64_t))) {
        wrong_shape();
    } else if (!(rotated = malloc((size_t)size + 1))) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t b = 0; b < blocks; b++) {
            const uint8_t *sample = (const uint8_t *)samples.buf + b * size;
            int64_t *row = (int64_t *)out.buf + b * columns;
            if (width == 0) {
                plain_totals(sample, (size_t)size, costs.buf, row);
                continue;
            }
            uint32_t histograms[MAX_WIDTH][SYMBOLS];
            memcpy(rotated, sample, (size_t)size);
            rotate_sample(rotated, (size_t)size, (size_t)width);
            if (width == 2)
                count_bytes(rotated, (size_t)size, 2, histograms);
            else if (width == 4)
                count_bytes(rotated, (size_t)size, 4, histograms);
            else
                count_bytes(rotated, (size_t)size, 8, histograms);
            for (int k = 0; k < width; k++)
                row[k] = total(histograms[k], costs.buf);
        }
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    free(rotated);
    PyBuffer_Release(&samples);
    PyBuffer_Release(&costs);
    PyBuffer_Release(&out);
    return result;
}

PyDoc_STRVAR(same_doc, "same(first, second)\n\nWhether two buffers hold the same bytes.");

static PyObject *same(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer first, second;
    int equal;
    if (!PyArg_ParseTuple(args, "y*y*", &first, &second))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    equal = first.len == second.len && memcmp(first.buf, second.buf, (size_t)first.len) == 0;
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&first);
    PyBuffer_Release(&second);
    return PyBool_FromLong(equal);
}

static PyMethodDef methods[] = {
    {"split", split, METH_VARARGS, split_doc},
    {"merge", merge, METH_VARARGS, merge_doc},
    {"totals", totals, METH_VARARGS, totals_doc},
    {"same", same, METH_VARARGS, same_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "etpack._kernels", .m_size = 0, .m_methods = methods,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
