#include "etz_loader_workers.h"

#include <pthread.h>

#include <atomic>

#include "etz_loader_memory.h"
#include "etz_loader_thread.h"

namespace etpack {
namespace internal {
namespace {

// What a thread decodes before it takes the next part of a load.
constexpr size_t kUnitBytes = 256 * 1024;

// Blocks that are fetched with one read: so much of content, at least one. More costs memory. It pays where storage has to be
// kept busy by one thread while another decodes.
constexpr size_t kFetchBytesAlone = 128 * 1024;
constexpr size_t kFetchBytesTogether = 256 * 1024;

void destroy(Worker* worker) {
  unmap_buffer(worker, worker->mapped_bytes);
}

/// One load, cut into units that several threads take.
class ParallelRead {
 public:
  ParallelRead(WorkerPool* pool, uint64_t offset, void* dest, size_t size)
      : pool_(pool), offset_(offset), dest_(static_cast<uint8_t*>(dest)), size_(size) {}

  size_t units() const {
    return (size_ + kUnitBytes - 1) / kUnitBytes;
  }

  /// Starts a thread that works on it; false if the system has none to give.
  bool start_helper(pthread_t* thread) {
    return start_thread(thread, help, this);
  }

  /// Takes units until there are none, or one failed, and gives the worker back.
  void work(Worker* worker) {
    etz_status result = ETZ_OK;
    while (result == ETZ_OK && status() == ETZ_OK) {
      const size_t unit = next_unit_.fetch_add(1, std::memory_order_relaxed);
      if (unit >= units()) {
        break;
      }
      result = read_unit(&worker->context, unit);
    }
    pool_->give_back(worker);
    if (result != ETZ_OK) {
      status_.store(result, std::memory_order_relaxed);
    }
  }

  etz_status status() const {
    return status_.load(std::memory_order_relaxed);
  }

 private:
  // Without memory for it the others do all.
  static void* help(void* read) {
    auto* const self = static_cast<ParallelRead*>(read);
    Worker* worker = nullptr;
    if (self->pool_->take(&worker) == ETZ_OK) {
      self->work(worker);
    }
    return nullptr;
  }

  etz_status read_unit(etz_context* context, size_t unit) const {
    uint64_t start = 0;
    uint64_t end = 0;
    etz_status result = find_start(context, unit, &start);
    if (result == ETZ_OK) {
      result = find_start(context, unit + 1, &end);
    }
    if (result == ETZ_OK) {
      result = etz_read(context, start, dest_ + (start - offset_), static_cast<size_t>(end - start));
    }
    return result;
  }

  /// Finds where a unit begins: at a block, so that none is decoded twice.
  etz_status find_start(etz_context* context, size_t unit, uint64_t* start) const {
    if (unit == 0 || unit == units()) {
      *start = unit == 0 ? offset_ : offset_ + size_;
      return ETZ_OK;
    }
    *start = offset_ + unit * kUnitBytes;
    etz_block block;
    const etz_status found = etz_find_block(context, *start, &block);
    if (found == ETZ_OK && block.number != ETZ_NO_BLOCK) {
      *start = block.content_offset > offset_ ? block.content_offset : offset_;
    }
    return found;
  }

  WorkerPool* const pool_;
  const uint64_t offset_;
  uint8_t* const dest_;
  const size_t size_;
  std::atomic<size_t> next_unit_{0};
  std::atomic<etz_status> status_{ETZ_OK};
};

} // namespace

WorkerPool::~WorkerPool() {
  while (idle_ != nullptr) {
    Worker* const worker = idle_;
    idle_ = worker->next;
    destroy(worker);
  }
}

etz_status WorkerPool::prepare(const etz_file* file, size_t threads) {
  file_ = file;
  keep_ = threads > 1 ? threads : 1;
  const size_t fetch_bytes = threads > 1 ? kFetchBytesTogether : kFetchBytesAlone;
  const auto blocks = static_cast<uint32_t>(fetch_bytes >> file->block_size_log2);
  batch_blocks_ = blocks > 1 ? blocks : 1;
  return etz_memory_needed(file, batch_blocks_, &needed_);
}

etz_status WorkerPool::take(Worker** worker) {
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

void WorkerPool::give_back(Worker* worker) {
  const uint64_t decoded = worker->context.counters.blocks_decoded;
  worker->context.counters.blocks_decoded = 0;
  {
    std::lock_guard<std::mutex> guard(lock_);
    blocks_decoded_ += decoded;
    if (idle_count_ < keep_) {
      worker->next = idle_;
      idle_ = worker;
      ++idle_count_;
      return;
    }
  }
  destroy(worker);
}

uint64_t WorkerPool::blocks_decoded() {
  std::lock_guard<std::mutex> guard(lock_);
  return blocks_decoded_;
}

etz_status WorkerPool::make(Worker** made) const {
  const size_t start = (sizeof(Worker) + needed_.alignment - 1) / needed_.alignment * needed_.alignment;
  if (needed_.size > SIZE_MAX - start) {
    return ETZ_LIMIT;
  }
  const Buffer buffer = map_buffer(start + needed_.size, needed_.alignment, false);
  if (buffer.data == nullptr) {
    return ETZ_MEMORY;
  }
  auto* const worker = static_cast<Worker*>(buffer.data);
  worker->mapped_bytes = mapped_bytes(buffer);
  const etz_status status = etz_context_init(
      &worker->context, file_, batch_blocks_, static_cast<uint8_t*>(buffer.data) + start, needed_.size);
  if (status != ETZ_OK) {
    destroy(worker);
    return status;
  }
  *made = worker;
  return ETZ_OK;
}

etz_status read_alone(WorkerPool* pool, uint64_t offset, void* dest, size_t size) {
  Worker* worker = nullptr;
  etz_status status = pool->take(&worker);
  if (status == ETZ_OK) {
    status = etz_read(&worker->context, offset, dest, size);
    pool->give_back(worker);
  }
  return status;
}

etz_status read_parallel(WorkerPool* pool, uint64_t offset, void* dest, size_t size, size_t threads) {
  Worker* worker = nullptr;
  const etz_status taken = pool->take(&worker);
  if (taken != ETZ_OK) {
    return taken;
  }
  ParallelRead read(pool, offset, dest, size);
  pthread_t others[kMaxThreads - 1];
  size_t started = 0;
  while (started + 1 < threads && started + 1 < read.units() && read.start_helper(&others[started])) {
    ++started;
  }
  read.work(worker);
  while (started > 0) {
    pthread_join(others[--started], nullptr);
  }
  return read.status();
}

} // namespace internal
} // namespace etpack
