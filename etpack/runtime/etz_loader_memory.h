/**
 * @file
 * Memory for what EtzDataLoader loads. Not for use by others.
 */
#pragma once

#include <cstddef>

#include <executorch/runtime/core/freeable_buffer.h>

namespace etpack {
namespace internal {

/// Memory, and what frees it: `free_fn(context, data, anything)`, from any thread. It needs nothing else to be alive.
struct Buffer {
  /// Null if the system has no more.
  void* data = nullptr;
  executorch::runtime::FreeableBuffer::FreeFn free_fn = nullptr;
  void* context = nullptr;

  void free() const {
    free_fn(context, data, 0);
  }
};

/// Gives a mapping back to the system.
void unmap_buffer(void* data, size_t mapped_bytes);

/// Returns the bytes of a buffer that map_buffer() made.
size_t mapped_bytes(const Buffer& buffer);

/**
 * Takes a mapping of its own from the system, which gets it back when it is freed.
 *
 * @param[in] size Bytes, at least 1.
 * @param[in] alignment Of its address: a power of two.
 * @param[in] huge_pages Ask for pages of 2 MiB where `size` fills them.
 */
Buffer map_buffer(size_t size, size_t alignment, bool huge_pages);

/**
 * Takes memory for a load: a mapping if it is large, else from the heap.
 *
 * @param[in] size Bytes; for 0 there is still an address that no other buffer has.
 */
Buffer allocate_buffer(size_t size, size_t alignment, bool huge_pages);

} // namespace internal
} // namespace etpack
