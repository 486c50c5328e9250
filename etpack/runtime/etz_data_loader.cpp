#include "etz_data_loader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include <executorch/runtime/core/error.h>
#include <executorch/runtime/core/freeable_buffer.h>
#include <executorch/runtime/core/result.h>
#include <executorch/runtime/platform/log.h>

#include "etz_decoders.h"
#include "etz_loader_memory.h"
#include "etz_loader_source.h"
#include "etz_loader_workers.h"

using etpack::internal::Buffer;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;

namespace etpack {
namespace {

// A program's buffer must be a multiple of it.
constexpr size_t kMinAlignment = 16;

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

/// A buffer that stays until the loader is destroyed.
struct Retained {
  Buffer buffer;
  Retained* next;
};

} // namespace

struct EtzDataLoader::Impl {
  EtzDataLoaderOptions options;
  internal::StoredSource stored;
  etz_decoder default_decoders[2];
  etz_file file{};
  internal::WorkerPool pool;
  std::mutex lock; // Of `retained`.
  Retained* retained = nullptr;

  ~Impl() {
    while (retained != nullptr) {
      Retained* const kept = retained;
      retained = kept->next;
      kept->buffer.free();
      delete kept;
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
        ? internal::read_parallel(&pool, offset, dest, size, options.threads)
        : internal::read_alone(&pool, offset, dest, size);
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

  Result<FreeableBuffer> hand_out(const Buffer& buffer, size_t size) {
    if (!options.retain_buffers) {
      return FreeableBuffer(buffer.data, size, buffer.free_fn, buffer.context);
    }
    auto* const kept = new (std::nothrow) Retained{buffer, nullptr};
    if (kept == nullptr) {
      buffer.free();
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
  const int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own_fd < 0) {
    ET_LOG(Error, "etz: cannot duplicate descriptor %d: %s (%d)", fd, strerror(errno), errno);
    return Error::AccessFailed;
  }
  impl->stored.set_descriptor(own_fd, offset, size == UINT64_MAX ? file_size - offset : size);
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
  impl->stored.set_memory(memory, size);
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
  impl->stored.set_callback(read_at, user, size);
  return open_source(EtzDataLoader(impl), options);
}

Result<EtzDataLoader> EtzDataLoader::open_source(
    EtzDataLoader loader,
    const EtzDataLoaderOptions& options) {
  if (!is_power_of_two(options.alignment) || options.threads > internal::kMaxThreads) {
    ET_LOG(
        Error,
        "etz: alignment %zu is not a power of two, or threads %zu are over %zu",
        options.alignment,
        options.threads,
        internal::kMaxThreads);
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
    reader.decoders = impl->default_decoders;
#ifndef ETZ_WITHOUT_ZSTD
    impl->default_decoders[reader.decoder_count++] = etz_decoder_zstd;
#endif
#ifndef ETZ_WITHOUT_LZ4
    impl->default_decoders[reader.decoder_count++] = etz_decoder_lz4;
#endif
  }
  reader.kernels = options.kernels != nullptr ? options.kernels : etz_kernels_best();
  reader.limits = &options.limits;
  const etz_source source = impl->stored.source();
  etz_status status = etz_open(&impl->file, &source, &reader);
  if (status == ETZ_OK) {
    status = impl->pool.prepare(&impl->file, options.threads);
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
  impl->stored.keep_tables(impl->file);
  if (options.read_ahead > 0) {
    impl->stored.read_ahead(options.read_ahead);
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
  const Buffer buffer = internal::allocate_buffer(size, impl_->options.alignment, impl_->options.huge_pages);
  if (buffer.data == nullptr) {
    ET_LOG(Error, "etz: cannot allocate %zu bytes", size);
    return Error::MemoryAllocationFailed;
  }
  error = impl_->read(offset, buffer.data, size);
  if (error != Error::Ok) {
    buffer.free();
    return error;
  }
  return impl_->hand_out(buffer, size);
}

Error EtzDataLoader::load_into(
    size_t offset,
    size_t size,
    ET_UNUSED const SegmentInfo& segment_info,
    void* buffer) const {
  Error error = impl_->check_range(offset, size);
  if (error != Error::Ok) {
    return error;
  }
  error = impl_->read(offset, buffer, size);
  if (error != Error::Ok && size > 0) {
    memset(buffer, 0, size);
  }
  return error;
}

Result<size_t> EtzDataLoader::size() const {
  return static_cast<size_t>(impl_->file.content_size);
}

uint64_t EtzDataLoader::blocks_decoded() const {
  return impl_->pool.blocks_decoded();
}

} // namespace etpack
