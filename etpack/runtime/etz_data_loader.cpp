#include "etz_data_loader.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include <executorch/runtime/core/error.h>
#include <executorch/runtime/core/freeable_buffer.h>
#include <executorch/runtime/core/result.h>
#include <executorch/runtime/platform/log.h>

#include "etz_decoders.h"

using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;

namespace etpack {
namespace {

// What a thread decodes before it takes the next part of a load.
constexpr size_t kUnitBytes = kEtzParallelBytes / 2;

// From here on a buffer is a mapping of its own: the system gets it back at once, and malloc does not learn from freed
// buffers to keep large ones.
constexpr size_t kMappedBytes = 128 * 1024;

constexpr size_t kHugePage = 2 * 1024 * 1024;

constexpr size_t kMinAlignment = 16;

constexpr size_t kMaxThreads = 64;

// Decoders use little stack: libzstd's and liblz4's tables lie in the workspace.
constexpr size_t kThreadStack = 256 * 1024;

constexpr size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

constexpr bool is_power_of_two(size_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

Error to_error(etz_status status) {
  switch (status) {
    case ETZ_OK:
      return Error::Ok;
    case ETZ_UNSUPPORTED:
    case ETZ_CODEC_MISSING:
      return Error::NotSupported;
    case ETZ_LIMIT:
      return Error::OutOfResources;
    case ETZ_IO:
      return Error::AccessFailed;
    case ETZ_RANGE:
      return Error::InvalidArgument;
    case ETZ_MEMORY:
      return Error::Internal;
    case ETZ_NOT_ETZ: // Of an open file, that only a decoder can say. Never NotFound: a data map would look elsewhere.
    case ETZ_TRUNCATED:
    case ETZ_CORRUPT:
      break;
  }
  return Error::InvalidProgram;
}

void* map_memory(size_t size) {
  void* memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void unmap(void* mapped_bytes, void* data, size_t /*requested*/) {
  munmap(data, reinterpret_cast<size_t>(mapped_bytes));
}

void delete_aligned(void* alignment, void* data, size_t /*requested*/) {
  ::operator delete(
      data, static_cast<std::align_val_t>(reinterpret_cast<size_t>(alignment)));
}

/// Memory for one load. What frees it needs nothing but `context`.
struct Buffer {
  void* data = nullptr;
  FreeableBuffer::FreeFn free_fn = nullptr;
  void* context = nullptr;
  Buffer* next = nullptr; // Of the retained ones.
};

Buffer map_buffer(size_t size, size_t alignment, bool huge_pages) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  huge_pages = huge_pages && size >= kHugePage;
  if (huge_pages && alignment < kHugePage) {
    alignment = kHugePage;
  }
  // A mapping begins at a page; for more, one that is too long is trimmed.
  const size_t slack = alignment > page ? alignment - page : 0;
  if (size > SIZE_MAX - slack - page) {
    return {};
  }
  const size_t length = round_up(size, page);
  auto* const start = static_cast<uint8_t*>(map_memory(length + slack));
  if (start == nullptr) {
    return {};
  }
  const size_t before =
      round_up(reinterpret_cast<uintptr_t>(start), alignment > page ? alignment : page) -
      reinterpret_cast<uintptr_t>(start);
  if (before > 0) {
    munmap(start, before);
  }
  if (slack > before) {
    munmap(start + before + length, slack - before);
  }
#ifdef MADV_HUGEPAGE
  if (huge_pages) {
    // Only pages that the buffer fills, so that it takes no memory beyond its size. A refusal costs nothing but speed.
    madvise(start + before, size / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
#endif
  return {start + before, unmap, reinterpret_cast<void*>(length)};
}

Buffer allocate(size_t size, size_t alignment, bool huge_pages) {
  if (size >= kMappedBytes) {
    return map_buffer(size, alignment, huge_pages);
  }
  // At least a byte: an empty constant segment whose data is null is taken for an absent one, and two live buffers at one
  // address for the same weights.
  void* const data = ::operator new(
      size == 0 ? 1 : size, static_cast<std::align_val_t>(alignment), std::nothrow);
  return {data, delete_aligned, reinterpret_cast<void*>(alignment)};
}

/// A part of an open file.
struct Descriptor {
  int fd = -1;
  uint64_t offset = 0;
};

int read_descriptor(void* user, uint64_t offset, void* dest, size_t size) {
  const auto* const descriptor = static_cast<const Descriptor*>(user);
  auto* out = static_cast<uint8_t*>(dest);
  uint64_t at = descriptor->offset + offset;
  while (size > 0) {
    const size_t chunk = size < INT_MAX ? size : INT_MAX; // macOS refuses more.
    const ssize_t got = pread(descriptor->fd, out, chunk, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) { // At 0 the file is shorter than it was.
      return -1;
    }
    out += got;
    at += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return 0;
}

/// A reader's context; its memory follows it in one mapping.
struct Worker {
  etz_context context;
  size_t mapped_bytes;
  Worker* next;
};

/// Contexts for the threads that read, made when they are first wanted.
class WorkerPool {
 public:
  ~WorkerPool() {
    while (idle_ != nullptr) {
      Worker* const worker = idle_;
      idle_ = worker->next;
      unmap(reinterpret_cast<void*>(worker->mapped_bytes), worker, 0);
    }
  }

  /// Keeps up to `keep` contexts that nobody uses. `file` must outlive the pool.
  etz_status prepare(const etz_file* file, size_t keep) {
    file_ = file;
    keep_ = keep;
    return etz_memory_needed(file, 1, &needed_);
  }

  /// Lends a context; the one used last if there is one, which may hold the block that is wanted next.
  etz_status take(Worker** worker) {
    {
      std::lock_guard<std::mutex> guard(lock_);
      if (idle_ != nullptr) {
        *worker = idle_;
        idle_ = idle_->next;
        --idle_count_;
        return ETZ_OK;
      }
    }
    return make(worker);
  }

  void give_back(Worker* worker) {
    const uint64_t decoded = worker->context.counters.blocks_decoded;
    worker->context.counters.blocks_decoded = 0;
    std::unique_lock<std::mutex> guard(lock_);
    blocks_decoded_ += decoded;
    if (idle_count_ < keep_) {
      worker->next = idle_;
      idle_ = worker;
      ++idle_count_;
      return;
    }
    guard.unlock();
    unmap(reinterpret_cast<void*>(worker->mapped_bytes), worker, 0);
  }

  uint64_t blocks_decoded() {
    std::lock_guard<std::mutex> guard(lock_);
    return blocks_decoded_;
  }

 private:
  /// ETZ_MEMORY if the system has none.
  etz_status make(Worker** made) const {
    const size_t start = round_up(sizeof(Worker), needed_.alignment);
    if (needed_.size > SIZE_MAX - start) {
      return ETZ_LIMIT;
    }
    const Buffer buffer = map_buffer(start + needed_.size, needed_.alignment, false);
    if (buffer.data == nullptr) {
      return ETZ_MEMORY;
    }
    auto* const worker = static_cast<Worker*>(buffer.data);
    worker->mapped_bytes = reinterpret_cast<size_t>(buffer.context);
    const etz_status status = etz_context_init(
        &worker->context, file_, 1, static_cast<uint8_t*>(buffer.data) + start, needed_.size);
    if (status != ETZ_OK) {
      unmap(buffer.context, worker, 0);
      return status;
    }
    *made = worker;
    return ETZ_OK;
  }

  const etz_file* file_ = nullptr;
  size_t keep_ = 1;
  etz_memory needed_{};
  std::mutex lock_; // Of all below.
  Worker* idle_ = nullptr;
  size_t idle_count_ = 0;
  uint64_t blocks_decoded_ = 0;
};

/// One load, cut into units that several threads take.
struct ParallelRead {
  WorkerPool* pool;
  uint64_t offset;
  uint8_t* dest;
  size_t size;
  std::atomic<size_t> next_unit{0};
  std::atomic<int> status{ETZ_OK};

  size_t units() const {
    return (size + kUnitBytes - 1) / kUnitBytes;
  }

  /// Finds where a unit begins: at a block, so that none is decoded twice.
  etz_status find_start(etz_context* context, size_t unit, uint64_t* start) const {
    if (unit == 0 || unit == units()) {
      *start = unit == 0 ? offset : offset + size;
      return ETZ_OK;
    }
    *start = offset + unit * kUnitBytes;
    etz_block block;
    const etz_status found = etz_find_block(context, *start, &block);
    if (found == ETZ_OK && block.number != ETZ_NO_BLOCK) {
      *start = block.content_offset > offset ? block.content_offset : offset;
    }
    return found;
  }

  etz_status read_unit(etz_context* context, size_t unit) const {
    uint64_t start = 0;
    uint64_t end = 0;
    etz_status result = find_start(context, unit, &start);
    if (result == ETZ_OK) {
      result = find_start(context, unit + 1, &end);
    }
    if (result == ETZ_OK) {
      result = etz_read(context, start, dest + (start - offset), static_cast<size_t>(end - start));
    }
    return result;
  }

  /// Takes units until there are none, or one failed.
  void work() {
    Worker* worker = nullptr;
    etz_status result = pool->take(&worker);
    while (result == ETZ_OK && status.load(std::memory_order_relaxed) == ETZ_OK) {
      const size_t unit = next_unit.fetch_add(1, std::memory_order_relaxed);
      if (unit >= units()) {
        break;
      }
      result = read_unit(&worker->context, unit);
    }
    if (worker != nullptr) {
      pool->give_back(worker);
    }
    if (result != ETZ_OK) {
      status.store(result, std::memory_order_relaxed);
    }
  }

  static void* run(void* read) {
    static_cast<ParallelRead*>(read)->work();
    return nullptr;
  }
};

/// Starts a thread; false if the system has none to give.
bool start_thread(pthread_t* thread, ParallelRead* read) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) {
    return false;
  }
  // A refusal leaves the default, which is larger.
  (void)pthread_attr_setstacksize(&attributes, kThreadStack);
  const bool started = pthread_create(thread, &attributes, ParallelRead::run, read) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}

} // namespace

struct EtzDataLoader::Impl {
  EtzDataLoaderOptions options;
  Descriptor descriptor;
  etz_source source{};
  etz_decoder default_decoders[2];
  etz_file file{};
  WorkerPool pool;
  std::mutex lock; // Of `retained`.
  Buffer* retained = nullptr;

  ~Impl() {
    while (retained != nullptr) {
      Buffer* const buffer = retained;
      retained = buffer->next;
      buffer->free_fn(buffer->context, buffer->data, 0);
      delete buffer;
    }
    if (descriptor.fd >= 0) {
      close(descriptor.fd);
    }
  }

  Error check_range(size_t offset, size_t size) const {
    if (offset > file.content_size || size > file.content_size - offset) {
      ET_LOG(
          Error,
          "etz: offset %zu + size %zu is over the content's size of %zu",
          offset,
          size,
          static_cast<size_t>(file.content_size));
      return Error::InvalidArgument;
    }
    return Error::Ok;
  }

  Error read(size_t offset, void* dest, size_t size) {
    const etz_status status = options.threads > 1 && size >= kEtzParallelBytes
        ? read_parallel(offset, dest, size)
        : read_alone(offset, dest, size);
    if (status == ETZ_OK) {
      return Error::Ok;
    }
    ET_LOG(
        Error,
        "etz: cannot load %zu bytes at content offset %zu: %s",
        size,
        offset,
        etz_status_slug(status));
    return status == ETZ_MEMORY ? Error::MemoryAllocationFailed : to_error(status);
  }

  etz_status read_alone(size_t offset, void* dest, size_t size) {
    Worker* worker = nullptr;
    etz_status status = pool.take(&worker);
    if (status == ETZ_OK) {
      status = etz_read(&worker->context, offset, dest, size);
      pool.give_back(worker);
    }
    return status;
  }

  etz_status read_parallel(size_t offset, void* dest, size_t size) {
    ParallelRead read{&pool, offset, static_cast<uint8_t*>(dest), size};
    pthread_t threads[kMaxThreads];
    size_t started = 0;
    // The caller's thread is one of them, and does it all where no other can be had.
    while (started + 1 < options.threads && started + 1 < read.units() &&
           start_thread(&threads[started], &read)) {
      ++started;
    }
    read.work();
    while (started > 0) {
      pthread_join(threads[--started], nullptr);
    }
    const auto status = static_cast<etz_status>(read.status.load());
    if (status != ETZ_OK) {
      memset(dest, 0, size);
    }
    return status;
  }

  Result<FreeableBuffer> hand_out(const Buffer& buffer, size_t size) {
    if (!options.retain_buffers) {
      return FreeableBuffer(buffer.data, size, buffer.free_fn, buffer.context);
    }
    auto* const kept = new (std::nothrow) Buffer(buffer);
    if (kept == nullptr) {
      buffer.free_fn(buffer.context, buffer.data, size);
      return Error::MemoryAllocationFailed;
    }
    std::lock_guard<std::mutex> guard(lock);
    kept->next = retained;
    retained = kept;
    return FreeableBuffer(buffer.data, size, nullptr);
  }
};

Result<EtzDataLoader> EtzDataLoader::from(
    const char* path,
    const EtzDataLoaderOptions& options) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    ET_LOG(Error, "etz: cannot open %s: %s (%d)", path, strerror(errno), errno);
    return Error::AccessFailed;
  }
  auto loader = from_file_descriptor(fd, 0, UINT64_MAX, options);
  close(fd);
  return loader;
}

Result<EtzDataLoader> EtzDataLoader::from_file_descriptor(
    int fd,
    uint64_t offset,
    uint64_t size,
    const EtzDataLoaderOptions& options) {
  struct stat status;
  if (fstat(fd, &status) != 0) {
    ET_LOG(Error, "etz: cannot stat descriptor %d: %s (%d)", fd, strerror(errno), errno);
    return Error::AccessFailed;
  }
  const auto file_size = static_cast<uint64_t>(status.st_size);
  if (offset > file_size || (size != UINT64_MAX && size > file_size - offset)) {
    ET_LOG(Error, "etz: the part given leaves the file of %llu bytes", static_cast<unsigned long long>(file_size));
    return Error::InvalidArgument;
  }
  Impl* const impl = new (std::nothrow) Impl;
  if (impl == nullptr) {
    return Error::MemoryAllocationFailed;
  }
  EtzDataLoader loader(impl);
  impl->descriptor.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (impl->descriptor.fd < 0) {
    ET_LOG(Error, "etz: cannot duplicate descriptor %d: %s (%d)", fd, strerror(errno), errno);
    return Error::AccessFailed;
  }
  impl->descriptor.offset = offset;
  impl->source.read_at = read_descriptor;
  impl->source.user = &impl->descriptor;
  impl->source.size = size == UINT64_MAX ? file_size - offset : size;
  return open_source(std::move(loader), options);
}

Result<EtzDataLoader> EtzDataLoader::from_memory(
    const void* memory,
    size_t size,
    const EtzDataLoaderOptions& options) {
  Impl* const impl = new (std::nothrow) Impl;
  if (impl == nullptr) {
    return Error::MemoryAllocationFailed;
  }
  impl->source.memory = static_cast<const uint8_t*>(memory);
  impl->source.size = size;
  return open_source(EtzDataLoader(impl), options);
}

Result<EtzDataLoader> EtzDataLoader::from_callback(
    etz_read_at read_at,
    void* user,
    uint64_t size,
    const EtzDataLoaderOptions& options) {
  Impl* const impl = new (std::nothrow) Impl;
  if (impl == nullptr) {
    return Error::MemoryAllocationFailed;
  }
  impl->source.read_at = read_at;
  impl->source.user = user;
  impl->source.size = size;
  return open_source(EtzDataLoader(impl), options);
}

Result<EtzDataLoader> EtzDataLoader::open_source(
    EtzDataLoader loader,
    const EtzDataLoaderOptions& options) {
  if (!is_power_of_two(options.alignment) || options.threads > kMaxThreads) {
    ET_LOG(
        Error,
        "etz: alignment %zu is not a power of two, or threads %zu are over %zu",
        options.alignment,
        options.threads,
        kMaxThreads);
    return Error::InvalidArgument;
  }
  Impl* const impl = loader.impl_;
  impl->options = options;
  if (impl->options.alignment < kMinAlignment) {
    impl->options.alignment = kMinAlignment;
  }
  etz_options reader{};
  if (options.decoders != nullptr) {
    reader.decoders = options.decoders;
    reader.decoder_count = options.decoder_count;
  } else {
    impl->default_decoders[0] = etz_decoder_zstd;
    impl->default_decoders[1] = etz_decoder_lz4;
    reader.decoders = impl->default_decoders;
    reader.decoder_count = 2;
  }
  reader.kernels = options.kernels != nullptr ? options.kernels : etz_kernels_best();
  reader.limits = &options.limits;
  etz_status status = etz_open(&impl->file, &impl->source, &reader);
  if (status == ETZ_OK) {
    status = impl->pool.prepare(&impl->file, options.threads > 1 ? options.threads : 1);
  }
  if (status == ETZ_OK && impl->file.content_size > SIZE_MAX) {
    status = ETZ_LIMIT; // size() could not say it.
  }
  if (status == ETZ_NOT_ETZ) {
    return Error::NotFound; // Not logged: the caller may try another loader.
  }
  if (status != ETZ_OK) {
    ET_LOG(Error, "etz: cannot open: %s", etz_status_slug(status));
    return to_error(status);
  }
  return loader;
}

EtzDataLoader::EtzDataLoader(EtzDataLoader&& other) noexcept : impl_(other.impl_) {
  other.impl_ = nullptr;
}

EtzDataLoader::~EtzDataLoader() {
  delete impl_;
}

Result<FreeableBuffer> EtzDataLoader::load(
    size_t offset,
    size_t size,
    ET_UNUSED const SegmentInfo& segment_info) const {
  Error error = impl_->check_range(offset, size);
  if (error != Error::Ok) {
    return error;
  }
  const Buffer buffer = allocate(size, impl_->options.alignment, impl_->options.huge_pages);
  if (buffer.data == nullptr) {
    ET_LOG(Error, "etz: cannot allocate %zu bytes", size);
    return Error::MemoryAllocationFailed;
  }
  error = impl_->read(offset, buffer.data, size);
  if (error != Error::Ok) {
    buffer.free_fn(buffer.context, buffer.data, size);
    return error;
  }
  return impl_->hand_out(buffer, size);
}

Error EtzDataLoader::load_into(
    size_t offset,
    size_t size,
    ET_UNUSED const SegmentInfo& segment_info,
    void* buffer) const {
  const Error error = impl_->check_range(offset, size);
  return error == Error::Ok ? impl_->read(offset, buffer, size) : error;
}

Result<size_t> EtzDataLoader::size() const {
  return static_cast<size_t>(impl_->file.content_size);
}

uint64_t EtzDataLoader::blocks_decoded() const {
  return impl_->pool.blocks_decoded();
}

} // namespace etpack
