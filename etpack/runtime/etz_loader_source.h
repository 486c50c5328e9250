/**
 * @file
 * Where EtzDataLoader reads stored bytes from. Not for use by others.
 */
#pragma once

#include <cstddef>
#include <cstdint>

#include "etz_loader_ahead.h"
#include "etz_loader_memory.h"
#include "etz_reader.h"

namespace etpack {
namespace internal {

/// Stored bytes: in a part of an open file, in memory, or behind a caller's function. Set one of these, once.
class StoredSource {
 public:
  StoredSource() = default;
  StoredSource(const StoredSource&) = delete;
  StoredSource& operator=(const StoredSource&) = delete;
  ~StoredSource();

  /// Takes `fd` over and closes it at last.
  void set_descriptor(int fd, uint64_t offset, uint64_t size);

  void set_memory(const void* memory, size_t size);

  void set_callback(etz_read_at callback, void* user, uint64_t size);

  /// Returns what the reader is to open. It points here, so this must stay where it is.
  etz_source source();

  /// Keeps the tables that say where blocks lie in memory, if they are small, so that a load reads nothing but blocks.
  void keep_tables(const etz_file& file);

  /// Reads ahead from now on, with so many bytes of memory; without effect on a source in memory.
  void read_ahead(size_t memory);

 private:
  static int read_at(void* self, uint64_t offset, void* dest, size_t size);
  static int read_stored(void* self, uint64_t offset, void* dest, size_t size);
  int read_file(uint64_t offset, void* dest, size_t size) const;

  const uint8_t* memory_ = nullptr;
  etz_read_at callback_ = nullptr;
  void* user_ = nullptr;
  int fd_ = -1;
  uint64_t file_offset_ = 0;
  uint64_t size_ = 0;
  Buffer tables_; // Stored bytes from `tables_start_` on.
  uint64_t tables_start_ = 0;
  size_t tables_size_ = 0;
  ReadAhead ahead_;
};

} // namespace internal
} // namespace etpack
