/**
 * @file
 * The threads that read for EtzDataLoader, and what each reads with. Not for use by others.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "etz_reader.h"

namespace etpack {
namespace internal {

/// A reader's context; its memory follows it in one mapping.
struct Worker {
  etz_context context;
  size_t mapped_bytes;
  Worker* next;
};

/// Contexts for the threads that read, made when they are first wanted. Thread-safe, but for prepare().
class WorkerPool {
 public:
  WorkerPool() = default;
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool();

  /// Must come first. For loads by up to `threads` threads each; so many contexts are kept when nobody uses them, at least
  /// one. `file` must outlive the pool.
  etz_status prepare(const etz_file* file, size_t threads);

  /// Lends a context: the one used last if there is one, which may hold the block that is wanted next. ETZ_MEMORY if the
  /// system has no memory for one.
  etz_status take(Worker** worker);

  void give_back(Worker* worker);

  /// Blocks decoded with contexts that were given back.
  uint64_t blocks_decoded();

 private:
  etz_status make(Worker** made) const;

  const etz_file* file_ = nullptr;
  size_t keep_ = 1;
  uint32_t batch_blocks_ = 1;
  etz_memory needed_{};
  std::mutex lock_; // Of all below.
  Worker* idle_ = nullptr;
  size_t idle_count_ = 0;
  uint64_t blocks_decoded_ = 0;
};

constexpr size_t kMaxThreads = 64;

/// Reads a range of content with one thread. Errors as etz_read(), and ETZ_MEMORY if there is no memory for a context; `dest` may
/// then hold anything.
etz_status read_alone(WorkerPool* pool, uint64_t offset, void* dest, size_t size);

/**
 * Reads a range of content with several threads, which have ended when it returns.
 *
 * @param[in] size Bytes, at least 1.
 * @param[in] threads The caller's and others, 1 to kMaxThreads. Where fewer can be started, these do it all.
 * @return as read_alone().
 */
etz_status read_parallel(WorkerPool* pool, uint64_t offset, void* dest, size_t size, size_t threads);

} // namespace internal
} // namespace etpack
