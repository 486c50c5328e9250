/**
 * @file
 * A DataLoader that writes down what is asked of another one: each load, load_into and size, and each buffer that is freed.
 */
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>

#include <executorch/runtime/core/data_loader.h>

/**
 * The log, a line of JSON for each call, in the order in which they ended.
 *
 *     {"n": 0, "call": "load", "source": "program", "offset": 0, "size": 64, "type": "Program", "index": 0,
 *      "descriptor": null, "error": 0, "buffer": 0, "live": 64, "microseconds": 12}
 *     {"n": 1, "call": "size", "source": "program", "size": 493480, "error": 0, "live": 64}
 *     {"n": 2, "call": "free", "source": "program", "buffer": 0, "size": 64, "live": 0}
 *     {"n": 3, "call": "phase", "name": "method loaded", "live": 2152}
 *
 * `load_into` is as `load`, without a buffer. `error` is an executorch::runtime::Error, 0 for Ok. `live` counts the bytes of all
 * buffers of all sources that were loaded and not freed, after the call. Thread-safe.
 */
class TraceLog {
 public:
  /// Writes to `out`, which must outlive the log.
  explicit TraceLog(FILE* out) : out_(out) {}

  /// Says that what follows belongs to something else. `name` must not need escaping.
  void phase(const char* name);

 private:
  friend class TracingDataLoader;
  struct Traced;

  void called(const char* call, const std::string& fields, bool has_buffer, uint64_t buffer, size_t bytes);
  void freed(const char* source, uint64_t buffer, size_t size);
  uint64_t new_buffer();

  FILE* const out_;
  std::mutex lock_; // Of all below.
  uint64_t lines_ = 0;
  uint64_t buffers_ = 0;
  uint64_t live_bytes_ = 0;
};

/// Passes every call on to another loader, and tells the log.
class TracingDataLoader final : public executorch::runtime::DataLoader {
 public:
  /**
   * @param[in] loader Any loader.
   * @param[in] source What the log calls it: a string literal, such as "program" or "data".
   * @param[in] log Kept alive by the loader and by each buffer, since buffers are freed after their loader is destroyed.
   */
  TracingDataLoader(
      std::unique_ptr<executorch::runtime::DataLoader> loader,
      const char* source,
      std::shared_ptr<TraceLog> log);

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
  const char* const source_;
  const std::shared_ptr<TraceLog> log_;
};
