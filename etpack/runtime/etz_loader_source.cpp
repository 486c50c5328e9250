#include "etz_loader_source.h"

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

namespace etpack {
namespace internal {
namespace {

// Enough for the tables of a gigabyte in blocks of 64 KiB.
constexpr uint64_t kMaxTablesBytes = 384 * 1024;

uint64_t table_end(const etz_table& table) {
  const uint64_t pages = (uint64_t{table.rows} + ETZ_ROWS_PER_PAGE - 1) / ETZ_ROWS_PER_PAGE;
  return table.stored_offset + uint64_t{table.rows} * ETZ_ROW_SIZE + pages * ETZ_CRC_SIZE;
}

} // namespace

StoredSource::~StoredSource() {
  ahead_.stop();
  if (fd_ >= 0) {
    close(fd_);
  }
  if (tables_.data != nullptr) {
    tables_.free();
  }
}

void StoredSource::set_descriptor(int fd, uint64_t offset, uint64_t size) {
  fd_ = fd;
  file_offset_ = offset;
  size_ = size;
}

void StoredSource::set_memory(const void* memory, size_t size) {
  memory_ = static_cast<const uint8_t*>(memory);
  size_ = size;
}

void StoredSource::set_callback(etz_read_at callback, void* user, uint64_t size) {
  callback_ = callback;
  user_ = user;
  size_ = size;
}

etz_source StoredSource::source() {
  etz_source source{};
  source.memory = memory_;
  source.size = size_;
  if (memory_ == nullptr) {
    source.read_at = read_at;
    source.user = this;
  }
  return source;
}

void StoredSource::keep_tables(const etz_file& file) {
  const uint64_t first = file.index.stored_offset < file.extents.stored_offset ? file.index.stored_offset
                                                                               : file.extents.stored_offset;
  const uint64_t index_end = table_end(file.index);
  const uint64_t extents_end = table_end(file.extents);
  const uint64_t end = index_end > extents_end ? index_end : extents_end;
  if (memory_ != nullptr || end <= first || end > size_ || end - first > kMaxTablesBytes) {
    return;
  }
  const auto size = static_cast<size_t>(end - first);
  const Buffer buffer = allocate_buffer(size, alignof(std::max_align_t), false);
  if (buffer.data == nullptr) {
    return;
  }
  // Pages are checked when they are used, so what cannot be read here gives its error then.
  if (read_at(this, first, buffer.data, size) != 0) {
    buffer.free();
    return;
  }
  tables_ = buffer;
  tables_start_ = first;
  tables_size_ = size;
}

void StoredSource::read_ahead(size_t memory) {
  if (memory_ == nullptr) {
    ahead_.start(read_stored, this, size_, memory);
  }
}

int StoredSource::read_at(void* self, uint64_t offset, void* dest, size_t size) {
  auto* const source = static_cast<StoredSource*>(self);
  const uint64_t into_tables = offset - source->tables_start_;
  if (offset >= source->tables_start_ && into_tables <= source->tables_size_ &&
      size <= source->tables_size_ - into_tables) {
    memcpy(dest, static_cast<const uint8_t*>(source->tables_.data) + into_tables, size);
    return 0;
  }
  return source->ahead_.is_on() ? source->ahead_.read(offset, dest, size) : read_stored(self, offset, dest, size);
}

int StoredSource::read_stored(void* self, uint64_t offset, void* dest, size_t size) {
  const auto* const source = static_cast<const StoredSource*>(self);
  return source->callback_ != nullptr ? source->callback_(source->user_, offset, dest, size)
                                      : source->read_file(offset, dest, size);
}

int StoredSource::read_file(uint64_t offset, void* dest, size_t size) const {
  auto* out = static_cast<uint8_t*>(dest);
  uint64_t at = file_offset_ + offset;
  while (size > 0) {
    const size_t chunk = size < INT_MAX ? size : INT_MAX; // macOS refuses more.
    const ssize_t got = pread(fd_, out, chunk, static_cast<off_t>(at));
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

} // namespace internal
} // namespace etpack
