#include "etz_loader_ahead.h"

#include <algorithm>
#include <cstring>

#include "etz_loader_thread.h"

namespace etpack {
namespace internal {
namespace {

// What is read at once: enough for storage to be quick, little enough for another read not to wait for long.
constexpr size_t kPieceBytes = 256 * 1024;

// Reads follow each other if there is no more between them than padding.
constexpr uint64_t kMaxPadding = 4096;

} // namespace

void ReadAhead::start(etz_read_at read_at, void* user, uint64_t stored_size, size_t memory) {
  read_at_ = read_at;
  user_ = user;
  stored_size_ = stored_size;
  capacity_ = std::max(memory, 2 * kPieceBytes);
  ring_ = map_buffer(capacity_, alignof(std::max_align_t), false);
  started_ = ring_.data != nullptr && start_thread(&thread_, run, this);
}

void ReadAhead::stop() {
  if (started_) {
    {
      std::lock_guard<std::mutex> guard(lock_);
      stop_ = true;
    }
    wanted_.notify_one();
    pthread_join(thread_, nullptr);
    started_ = false;
  }
  if (ring_.data != nullptr) {
    ring_.free();
    ring_ = {};
  }
}

int ReadAhead::read(uint64_t offset, void* dest, size_t size) {
  auto* out = static_cast<uint8_t*>(dest);
  {
    std::unique_lock<std::mutex> guard(lock_);
    while (size > 0) {
      // No more than half is kept ahead, so nothing larger could be waited for.
      const size_t part = std::min(size, capacity_ / 2);
      if (!take(&guard, offset, out, part)) {
        break;
      }
      offset += part;
      out += part;
      size -= part;
    }
    if (size == 0) {
      return 0;
    }
    pass(offset, offset + size);
  }
  return read_at_(user_, offset, out, size);
}

/// Notes what is read by the caller itself; if it follows what was noted last, reading ahead begins behind it.
void ReadAhead::pass(uint64_t offset, uint64_t end) {
  if (offset >= passed_end_ && offset - passed_end_ <= kMaxPadding) {
    start_ = filled_ = end;
    end_ = stored_size_;
    goal_ = std::min(end + capacity_ / 2, end_);
    ++moves_;
    wanted_.notify_one();
    came_.notify_all();
  }
  passed_end_ = end;
}

/// Copies what is there, or soon will be; false if the caller has to read it.
bool ReadAhead::take(std::unique_lock<std::mutex>* guard, uint64_t offset, void* dest, size_t size) {
  const uint64_t end = offset + size;
  if (offset < start_ || offset > goal_ || end > end_) {
    return false;
  }
  passed_end_ = UINT64_MAX;
  const uint64_t goal = std::min(end + capacity_ / 2, end_);
  if (goal > goal_) {
    goal_ = goal;
    wanted_.notify_one();
  }
  const uint64_t moves = moves_;
  while (filled_ < end) {
    came_.wait(*guard);
    if (moves_ != moves || offset < start_ || end > end_) {
      return false;
    }
  }
  const auto* const ring = static_cast<const uint8_t*>(ring_.data);
  const auto at = static_cast<size_t>(offset % capacity_);
  const size_t before_wrap = std::min(size, capacity_ - at);
  memcpy(dest, ring + at, before_wrap);
  memcpy(static_cast<uint8_t*>(dest) + before_wrap, ring, size - before_wrap);
  return true;
}

void* ReadAhead::run(void* self) {
  static_cast<ReadAhead*>(self)->work();
  return nullptr;
}

void ReadAhead::work() {
  auto* const ring = static_cast<uint8_t*>(ring_.data);
  std::unique_lock<std::mutex> guard(lock_);
  while (true) {
    wanted_.wait(guard, [this] { return stop_ || filled_ < goal_; });
    if (stop_) {
      return;
    }
    const uint64_t offset = filled_;
    const uint64_t moves = moves_;
    const auto at = static_cast<size_t>(offset % capacity_);
    const auto size = static_cast<size_t>(std::min<uint64_t>({kPieceBytes, goal_ - offset, capacity_ - at}));
    // It comes in place of what was there first.
    if (offset + size > capacity_) {
      start_ = std::max(start_, offset + size - capacity_);
    }
    guard.unlock();
    const bool failed = read_at_(user_, offset, ring + at, size) != 0;
    guard.lock();
    if (moves_ != moves) {
      continue;
    }
    if (failed) {
      // Who wants it reads it, and gets the error.
      end_ = goal_ = filled_;
    } else {
      filled_ += size;
    }
    came_.notify_all();
  }
}

} // namespace internal
} // namespace etpack
