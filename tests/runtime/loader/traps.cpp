// What a loader of one's own can get wrong with ExecuTorch, one check for each; README.md says what each trap is.

#include <algorithm>
#include <memory>
#include <thread>

#include "check.h"

namespace {

/// Loads the file in pieces of odd sizes, which lie across blocks and extents.
std::vector<std::pair<size_t, size_t>> pieces(size_t size) {
  std::vector<std::pair<size_t, size_t>> out;
  size_t step = 1;
  for (size_t at = 0; at < size; at += step, step = step * 3 % 70001 + 1) {
    out.emplace_back(at, std::min(step, size - at));
  }
  return out;
}

// AddressSanitizer keeps memory that was freed, and ThreadSanitizer has some beside ours.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kResidentCounts = false;
#else
constexpr bool kResidentCounts = true;
#endif

uint64_t resident_bytes() {
  FILE* const file = fopen("/proc/self/statm", "r");
  CHECK(file != nullptr);
  unsigned long total = 0;
  unsigned long resident = 0;
  CHECK(fscanf(file, "%lu %lu", &total, &resident) == 2);
  fclose(file);
  return resident * 4096;
}

void size_is_the_contents(const Files& files) {
  auto loader = EtzDataLoader::from(files.packed_path.c_str());
  CHECK(loader.ok());
  CHECK(loader->size().get() == files.plain.size());
  const EtzDataLoader moved(std::move(loader.get()));
  CHECK(moved.size().get() == files.plain.size());
}

void neighbouring_reads_decode_a_block_once(const Files& files) {
  const EtzDataLoader loader = opened(files);
  // The head, and then the program that it belongs to: one block, in the files of the tests.
  const FreeableBuffer head = loaded(loader, 0, 64);
  const FreeableBuffer more = loaded(loader, 0, 256);
  CHECK(loader.blocks_decoded() == 1);
  CHECK(holds(head, files.plain, 0) && holds(more, files.plain, 0));
  // As mutable tensors are read: many, small, unaligned, in order.
  const uint64_t before = loader.blocks_decoded();
  const size_t start = files.plain.size() / 2;
  const size_t size = 7;
  for (size_t i = 0; i < 1000; ++i) {
    uint8_t bytes[size];
    CHECK(loader.load_into(start + i * size, size, SegmentInfo(SegmentInfo::Type::Mutable, 1), bytes) == Error::Ok);
    CHECK(memcmp(bytes, files.plain.data() + start + i * size, size) == 0);
  }
  // 7000 bytes lie in one block, in two, or in the three about an extent that is as small.
  CHECK(loader.blocks_decoded() - before <= 3);
  // Threads that share a load share no block.
  uint64_t decoded[2];
  for (const size_t threads : {1, 3}) {
    EtzDataLoaderOptions options;
    options.threads = threads;
    const EtzDataLoader whole = opened(files, options);
    CHECK(holds(loaded(whole, 0, files.plain.size()), files.plain, 0));
    decoded[threads == 1 ? 0 : 1] = whole.blocks_decoded();
  }
  CHECK(decoded[0] == decoded[1]);
}

void segment_info_does_not_matter(const Files& files) {
  const EtzDataLoader loader = opened(files);
  const SegmentInfo infos[] = {
      SegmentInfo{},
      SegmentInfo(SegmentInfo::Type::Constant, 0, nullptr),
      SegmentInfo(SegmentInfo::Type::Backend, SIZE_MAX, "NoSuchBackend"),
      SegmentInfo(static_cast<SegmentInfo::Type>(77), 12345, "\xff\n"),
  };
  const size_t offset = files.plain.size() / 3;
  const size_t size = files.plain.size() / 3;
  for (const SegmentInfo& info : infos) {
    const auto buffer = loader.load(offset, size, info);
    CHECK(buffer.ok() && holds(buffer.get(), files.plain, offset));
    Bytes into(size);
    CHECK(loader.load_into(offset, size, info, into.data()) == Error::Ok);
    CHECK(memcmp(into.data(), files.plain.data() + offset, size) == 0);
  }
}

void ranges_may_cross_segments(const Files& files) {
  const EtzDataLoader loader = opened(files);
  CHECK(holds(loaded(loader, 0, files.plain.size()), files.plain, 0));
  for (const auto& [offset, size] : pieces(files.plain.size())) {
    CHECK(holds(loaded(loader, offset, size), files.plain, offset));
  }
}

void empty_loads_have_data(const Files& files) {
  EtzDataLoaderOptions options;
  options.alignment = 4096;
  const EtzDataLoader loader = opened(files, options);
  for (const size_t offset : {size_t{0}, size_t{1}, files.plain.size() / 2, files.plain.size()}) {
    auto buffer = loader.load(offset, 0, kConstant);
    CHECK(buffer.ok());
    CHECK(buffer->data() != nullptr && buffer->size() == 0);
    CHECK(reinterpret_cast<uintptr_t>(buffer->data()) % 4096 == 0);
    CHECK(loader.load_into(offset, 0, kConstant, nullptr) == Error::Ok);
  }
  CHECK(loader.load(files.plain.size() + 1, 0, kConstant).error() == Error::InvalidArgument);
}

void buffers_outlive_the_loader(const Files& files) {
  std::vector<FreeableBuffer> buffers;
  {
    EtzDataLoaderOptions options;
    options.threads = 2;
    const EtzDataLoader loader = opened(files, options);
    buffers.push_back(loaded(loader, 0, 64));
    buffers.push_back(loaded(loader, 0, files.plain.size()));
    buffers.push_back(loaded(loader, 5, 0));
  }
  CHECK(holds(buffers[0], files.plain, 0) && holds(buffers[1], files.plain, 0));
  std::thread([&buffers] { buffers.clear(); }).join();
}

void load_into_is_there(const Files& files) {
  const EtzDataLoader loader = opened(files);
  for (const auto& [offset, size] : pieces(files.plain.size())) {
    // At an odd address, with a byte on either side that must stay.
    Bytes room(size + 2, 0xA5);
    CHECK(loader.load_into(offset, size, SegmentInfo(SegmentInfo::Type::Mutable), room.data() + 1) == Error::Ok);
    CHECK(memcmp(room.data() + 1, files.plain.data() + offset, size) == 0);
    CHECK(room.front() == 0xA5 && room.back() == 0xA5);
  }
}

void a_range_may_be_loaded_twice(const Files& files) {
  const EtzDataLoader loader = opened(files);
  auto first = loader.load(0, files.plain.size(), kConstant);
  const FreeableBuffer second = loaded(loader, 0, files.plain.size());
  CHECK(first.ok() && first->data() != second.data());
  first->Free();
  CHECK(holds(second, files.plain, 0));
}

void retained_buffers_stay(const Files& files) {
  EtzDataLoaderOptions options;
  options.retain_buffers = true;
  const EtzDataLoader loader = opened(files, options);
  std::vector<std::pair<const void*, size_t>> freed;
  for (const auto& [offset, size] : pieces(files.plain.size())) {
    FreeableBuffer buffer = loaded(loader, offset, size);
    freed.emplace_back(buffer.data(), offset);
    buffer.Free();
  }
  for (const auto& [data, offset] : freed) {
    CHECK(*static_cast<const uint8_t*>(data) == files.plain[offset]);
  }
}

void constants_stay_until_the_loader_goes(const Files& files) {
  EtzDataLoaderOptions options;
  options.retain_buffers = true;
  auto loader = std::make_unique<EtzDataLoader>(opened(files, options));
  const void* data = nullptr;
  {
    const FreeableBuffer buffer = loaded(*loader, 0, files.plain.size());
    data = buffer.data();
  }
  CHECK(memcmp(data, files.plain.data(), files.plain.size()) == 0);
  const uint64_t before = resident_bytes();
  loader.reset();
  CHECK(!kResidentCounts || resident_bytes() < before - files.plain.size() * 3 / 4);
}

void live_buffers_have_addresses_of_their_own(const Files& files) {
  const EtzDataLoader loader = opened(files);
  std::vector<FreeableBuffer> buffers;
  std::vector<const void*> addresses;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{64}, size_t{4096}, files.plain.size() / 2}) {
    for (int i = 0; i < 20; ++i) {
      buffers.push_back(loaded(loader, 0, size));
      addresses.push_back(buffers.back().data());
    }
  }
  std::sort(addresses.begin(), addresses.end());
  CHECK(std::adjacent_find(addresses.begin(), addresses.end()) == addresses.end());
}

// As XNNPACK does: all tensors of a delegate are loaded before the first of them is freed.
void memory_comes_back_when_all_are_freed(const Files& files) {
  const EtzDataLoader loader = opened(files);
  const size_t half = files.plain.size() / 2;
  CHECK(half >= (4U << 20));
  loaded(loader, 0, 64).Free();
  const uint64_t before = resident_bytes();
  std::vector<FreeableBuffer> buffers;
  for (const size_t offset : {size_t{0}, half}) {
    buffers.push_back(loaded(loader, offset, half));
  }
  const auto about = [before](size_t bytes) {
    const uint64_t now = resident_bytes();
    return !kResidentCounts || (now + (1U << 20) >= before + bytes && now <= before + bytes + (1U << 20));
  };
  CHECK(about(2 * half));
  buffers.front().Free();
  CHECK(about(half));
  buffers.clear();
  CHECK(about(0));
}

} // namespace

void check_trap(int number, const Files& files) {
  void (*const checks[])(const Files&) = {
      size_is_the_contents,
      neighbouring_reads_decode_a_block_once,
      segment_info_does_not_matter,
      ranges_may_cross_segments,
      empty_loads_have_data,
      buffers_outlive_the_loader,
      load_into_is_there,
      a_range_may_be_loaded_twice,
      retained_buffers_stay,
      constants_stay_until_the_loader_goes,
      live_buffers_have_addresses_of_their_own,
      memory_comes_back_when_all_are_freed,
  };
  CHECK(number >= 1 && number <= static_cast<int>(sizeof(checks) / sizeof(checks[0])));
  checks[number - 1](files);
}
