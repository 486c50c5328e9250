#include "etz_loader_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

namespace etpack {
namespace internal {
namespace {

// From here on a buffer is a mapping of its own: the system gets it back at once, it leaves no hole between what a delegate
// allocates meanwhile, and malloc does not learn from freed buffers to keep large ones.
constexpr size_t kMappedBytes = 32 * 1024;

constexpr size_t kHugePage = 2 * 1024 * 1024;

constexpr size_t round_up(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void* map_memory(size_t size) {
  void* memory =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

// The length of the mapping is the context, for a free function is given only what was asked for.
void free_mapping(void* length, void* data, size_t /*requested*/) {
  unmap_buffer(data, reinterpret_cast<size_t>(length));
}

void delete_aligned(void* alignment, void* data, size_t /*requested*/) {
  ::operator delete(
      data, static_cast<std::align_val_t>(reinterpret_cast<size_t>(alignment)));
}

} // namespace

void unmap_buffer(void* data, size_t mapped_bytes) {
  munmap(data, mapped_bytes);
}

size_t mapped_bytes(const Buffer& buffer) {
  return reinterpret_cast<size_t>(buffer.context);
}

Buffer map_buffer(size_t size, size_t alignment, bool huge_pages) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  huge_pages = huge_pages && size >= kHugePage;
  if (huge_pages && alignment < kHugePage) {
    alignment = kHugePage;
  }
  // A mapping begins at a page; for more, one that is too long is trimmed.
  const size_t slack = alignment > page ? alignment - page : 0;
  if (size > SIZE_MAX - slack - page) {
    return {};
  }
  const size_t length = round_up(size, page);
  auto* const start = static_cast<uint8_t*>(map_memory(length + slack));
  if (start == nullptr) {
    return {};
  }
  const size_t before =
      round_up(reinterpret_cast<uintptr_t>(start), alignment > page ? alignment : page) -
      reinterpret_cast<uintptr_t>(start);
  if (before > 0) {
    munmap(start, before);
  }
  if (slack > before) {
    munmap(start + before + length, slack - before);
  }
#ifdef MADV_HUGEPAGE
  if (huge_pages) {
    // Only pages that the buffer fills, so that it takes no memory beyond its size. A refusal costs nothing but speed.
    madvise(start + before, size / kHugePage * kHugePage, MADV_HUGEPAGE);
  }
#endif
  return {start + before, free_mapping, reinterpret_cast<void*>(length)};
}

Buffer allocate_buffer(size_t size, size_t alignment, bool huge_pages) {
  if (size >= kMappedBytes) {
    return map_buffer(size, alignment, huge_pages);
  }
  // At least a byte: an empty constant segment whose data is null is taken for an absent one, and two live buffers at one
  // address for the same weights.
  void* const data = ::operator new(
      size == 0 ? 1 : size, static_cast<std::align_val_t>(alignment), std::nothrow);
  return {data, delete_aligned, reinterpret_cast<void*>(alignment)};
}

} // namespace internal
} // namespace etpack
