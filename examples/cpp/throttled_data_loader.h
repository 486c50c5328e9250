/**
 * @file
 * Storage of a given speed, for measuring how long models load from it. Files on the machine that measures may be in the cache
 * of its system, or of a system below that one, so what takes time here is the waiting.
 */
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include <executorch/runtime/core/data_loader.h>

/**
 * A device that reads one thing after another, each in its bytes divided by the speed. It does not read ahead: it is idle when
 * nobody waits for it. Thread-safe.
 */
class Throttle {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// @param[in] megabytes_per_second Of 1,000,000 bytes; above 0.
  explicit Throttle(double megabytes_per_second) : bytes_per_second_(megabytes_per_second * 1e6) {}

  /// Begins to read `size` bytes, once what was begun before is done. Returns when they are there.
  Time begin(size_t size);

  /// Waits until what was begun is there.
  static void wait(Time there);

  /// Bytes of all that was begun.
  uint64_t bytes() const;

 private:
  const double bytes_per_second_;
  mutable std::mutex lock_; // Of all below.
  Time free_at_{};
  uint64_t bytes_ = 0;
};

/// A file behind a throttle; its read_at is one for EtzDataLoader::from_callback().
class ThrottledFile {
 public:
  ThrottledFile(int fd, std::shared_ptr<Throttle> throttle) : fd_(fd), throttle_(std::move(throttle)) {}
  ThrottledFile(const ThrottledFile&) = delete;
  ThrottledFile& operator=(const ThrottledFile&) = delete;
  ~ThrottledFile();

  /// Reads `size` bytes at `offset`; returns 0, or -1 if there are fewer or the system cannot read them.
  static int read_at(void* self, uint64_t offset, void* dest, size_t size);

 private:
  const int fd_;
  const std::shared_ptr<Throttle> throttle_;
};

/**
 * Makes each load of another loader take as long as the throttle says, its own work included: as if the one pread() by which
 * FileDataLoader loads a range were slow. It is too strict with MmapDataLoader, which need not read all of a range.
 */
class ThrottledDataLoader final : public executorch::runtime::DataLoader {
 public:
  ThrottledDataLoader(std::unique_ptr<executorch::runtime::DataLoader> loader, std::shared_ptr<Throttle> throttle)
      : loader_(std::move(loader)), throttle_(std::move(throttle)) {}

  executorch::runtime::Result<executorch::runtime::FreeableBuffer>
  load(size_t offset, size_t size, const SegmentInfo& segment_info)
      const override;

  executorch::runtime::Error load_into(
      size_t offset,
      size_t size,
      const SegmentInfo& segment_info,
      void* buffer) const override;

  executorch::runtime::Result<size_t> size() const override;

 private:
  const std::unique_ptr<executorch::runtime::DataLoader> loader_;
  const std::shared_ptr<Throttle> throttle_;
};
