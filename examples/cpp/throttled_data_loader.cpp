#include "throttled_data_loader.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>

using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;

Throttle::Time Throttle::begin(size_t size) {
  const std::chrono::duration<double> takes(static_cast<double>(size) / bytes_per_second_);
  std::lock_guard<std::mutex> guard(lock_);
  free_at_ = std::max(free_at_, std::chrono::steady_clock::now()) +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(takes);
  bytes_ += size;
  return free_at_;
}

void Throttle::wait(Time there) {
  // The system wakes a thread late, by more than a read of a block may take. So the last of it is no sleep.
  constexpr std::chrono::microseconds kLate(300);
  std::this_thread::sleep_until(there - kLate);
  while (std::chrono::steady_clock::now() < there) {
  }
}

uint64_t Throttle::bytes() const {
  std::lock_guard<std::mutex> guard(lock_);
  return bytes_;
}

ThrottledFile::~ThrottledFile() {
  close(fd_);
}

int ThrottledFile::read_at(void* self, uint64_t offset, void* dest, size_t size) {
  const auto* const file = static_cast<const ThrottledFile*>(self);
  const Throttle::Time there = file->throttle_->begin(size);
  auto* out = static_cast<uint8_t*>(dest);
  while (size > 0) {
    const ssize_t got = pread(file->fd_, out, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return -1;
    }
    out += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  Throttle::wait(there);
  return 0;
}

Result<FreeableBuffer> ThrottledDataLoader::load(size_t offset, size_t size, const SegmentInfo& segment_info) const {
  const Throttle::Time there = throttle_->begin(size);
  Result<FreeableBuffer> loaded = loader_->load(offset, size, segment_info);
  Throttle::wait(there);
  return loaded;
}

Error ThrottledDataLoader::load_into(size_t offset, size_t size, const SegmentInfo& segment_info, void* buffer) const {
  const Throttle::Time there = throttle_->begin(size);
  const Error error = loader_->load_into(offset, size, segment_info, buffer);
  Throttle::wait(there);
  return error;
}

Result<size_t> ThrottledDataLoader::size() const {
  return loader_->size();
}
