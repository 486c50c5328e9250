/**
 * @file
 * Reading before it is asked for, for EtzDataLoader. Not for use by others.
 */
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "etz_loader_memory.h"
#include "etz_reader.h"

namespace etpack {
namespace internal {

/**
 * Reads stored bytes on a thread of its own, once two reads follow each other: so storage is busy while blocks are decoded, and
 * while a delegate works on what was loaded last. Thread-safe, but for start() and stop().
 */
class ReadAhead {
 public:
  ReadAhead() = default;
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;
  ~ReadAhead() {
    stop();
  }

  /**
   * Starts the thread, if the system has a thread and memory for it.
   *
   * @param[in] read_at Reads stored bytes; called by the thread too.
   * @param[in] user Passed to it.
   * @param[in] stored_size Bytes that there are to read.
   * @param[in] memory Bytes to keep: half for what comes next, half for threads that are behind the others. At least 512 KiB
   *     are taken.
   */
  void start(etz_read_at read_at, void* user, uint64_t stored_size, size_t memory);

  /// Whether the thread was started.
  bool is_on() const {
    return started_;
  }

  /// Ends the thread, after the read that it is at.
  void stop();

  /// Reads as `read_at` does, from what is there already or will be next, else by itself. Only if is_on().
  int read(uint64_t offset, void* dest, size_t size);

 private:
  static void* run(void* self);
  void work();
  bool take(std::unique_lock<std::mutex>* guard, uint64_t offset, void* dest, size_t size);
  void pass(uint64_t offset, uint64_t end);

  // Set by start().
  etz_read_at read_at_ = nullptr;
  void* user_ = nullptr;
  uint64_t stored_size_ = 0;
  Buffer ring_; // The byte at a stored offset lies at that offset modulo `capacity_`.
  size_t capacity_ = 0;
  pthread_t thread_{};
  bool started_ = false;

  std::mutex lock_; // Of all below.
  std::condition_variable wanted_; // The goal has moved, or it is time to stop.
  std::condition_variable came_; // More is there, or never will be.
  bool stop_ = false;
  // Stored offsets: what is there goes from `start_` to `filled_`, the thread reads up to `goal_`, and may up to `end_`.
  uint64_t start_ = 0;
  uint64_t filled_ = 0;
  uint64_t goal_ = 0;
  uint64_t end_ = 0;
  // Moves so far: what was read for a place that was left is not wanted.
  uint64_t moves_ = 0;
  // Where the last read ended, if it was not served from here.
  uint64_t passed_end_ = UINT64_MAX;
};

} // namespace internal
} // namespace etpack
