/**
 * Checks of EtzDataLoader, run by tests/test_runtime_loader.py:
 *
 *     loader_check sources PLAIN PACKED        every way to open, option and range gives the file's bytes
 *     loader_check trap N PLAIN PACKED         one of the traps in README.md
 *     loader_check errors PLAIN PACKED         each error, from what causes it
 *     loader_check threads PLAIN PACKED        many threads on one loader
 *     loader_check ahead PLAIN PACKED          what is read ahead of loads
 *     loader_check ahead-large PLAIN PACKED    the same, of blocks larger than what is kept
 *     loader_check flips PLAIN PACKED STEP START END     bits flipped, one at a time: every STEP-th of the file
 *     loader_check read PACKED...              for each file a line: its name, and the error or "ok" and a hash
 *     loader_check data PLAIN PACKED           external weights (.ptd) through ExecuTorch's own map
 */
#include <sys/resource.h>
#include <unistd.h>

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <cinttypes>
#include <climits>
#include <memory>
#include <thread>

#include <executorch/extension/data_loader/file_data_loader.h>
#include <executorch/extension/flat_tensor/flat_tensor_data_map.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include "check.h"
#include "etz_decoders.h"

// The errors are what is checked; their text would only be in the way.
extern "C" void et_pal_emit_log_message(
    et_timestamp_t,
    et_pal_log_level_t,
    const char*,
    const char*,
    size_t,
    const char*,
    size_t) {}

namespace {

/// A source that can be made to fail.
struct Callback {
  const Bytes* bytes;
  std::atomic<bool> fails{false};

  static int read(void* user, uint64_t offset, void* dest, size_t size) {
    const auto* const self = static_cast<const Callback*>(user);
    if (self->fails) {
      return -1;
    }
    memcpy(dest, self->bytes->data() + offset, size);
    return 0;
  }
};

void check_ranges(const EtzDataLoader& loader, const Files& files, size_t alignment, size_t count) {
  CHECK(holds(loaded(loader, 0, files.plain.size()), files.plain, 0));
  Random random;
  for (size_t i = 0; i < count; ++i) {
    const size_t offset = random.below(files.plain.size());
    const size_t size = random.below(files.plain.size() - offset + 1);
    const FreeableBuffer buffer = loaded(loader, offset, size);
    CHECK(holds(buffer, files.plain, offset));
    CHECK(reinterpret_cast<uintptr_t>(buffer.data()) % alignment == 0);
  }
}

void check_sources(const Files& files) {
  for (const size_t threads : {0, 1, 2, 5}) {
    for (const size_t alignment : {1, 128, 4096, 1 << 16, 1 << 22}) {
      for (const bool huge_pages : {false, true}) {
        EtzDataLoaderOptions options;
        options.threads = threads;
        options.read_ahead = huge_pages ? 1 << 20 : 0;
        options.alignment = alignment;
        options.huge_pages = huge_pages;
        check_ranges(opened(files, options), files, alignment < 16 ? 16 : alignment, 8);
      }
    }
  }
  EtzDataLoaderOptions options;
  options.threads = 2;
  options.read_ahead = 1;
  options.kernels = &etz_kernels_portable;

  auto in_memory = EtzDataLoader::from_memory(files.packed.data(), files.packed.size(), options);
  CHECK(in_memory.ok());
  check_ranges(in_memory.get(), files, 128, 50);

  Callback callback{&files.packed};
  auto called = EtzDataLoader::from_callback(Callback::read, &callback, files.packed.size(), options);
  CHECK(called.ok());
  check_ranges(called.get(), files, 128, 50);

  // Inside another file, behind 1000 bytes and before 10 others, through a descriptor that the caller closes.
  char path[] = "/tmp/loader_check_XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0 && unlink(path) == 0);
  const Bytes around(1000, 0x5A);
  const auto write_all = [fd](const Bytes& bytes, size_t size) {
    CHECK(write(fd, bytes.data(), size) == static_cast<ssize_t>(size));
  };
  write_all(around, 1000);
  write_all(files.packed, files.packed.size());
  write_all(around, 10);
  auto part = EtzDataLoader::from_file_descriptor(fd, 1000, files.packed.size(), options);
  CHECK(part.ok());
  CHECK(lseek(fd, 0, SEEK_CUR) == static_cast<off_t>(1010 + files.packed.size()));
  CHECK(EtzDataLoader::from_file_descriptor(fd, 1000).error() == Error::InvalidProgram);
  CHECK(EtzDataLoader::from_file_descriptor(fd, 0).error() == Error::NotFound);
  CHECK(EtzDataLoader::from_file_descriptor(fd, 1 << 30).error() == Error::InvalidArgument);
  CHECK(EtzDataLoader::from_file_descriptor(fd, 1000, 1 << 30).error() == Error::InvalidArgument);
  close(fd);
  check_ranges(part.get(), files, 128, 50);
}

/// Decoders of ours, that count.
struct CountingDecoder {
  const etz_decoder* inner;
  std::atomic<int> calls{0};

  static size_t workspace_size(void* user, uint32_t largest, uint32_t streams) {
    const etz_decoder* const inner = static_cast<CountingDecoder*>(user)->inner;
    return inner->workspace_size == nullptr ? 0 : inner->workspace_size(inner->user, largest, streams);
  }
  static etz_status prepare(void* user, void* workspace, size_t size) {
    const etz_decoder* const inner = static_cast<CountingDecoder*>(user)->inner;
    return inner->prepare == nullptr ? ETZ_OK : inner->prepare(inner->user, workspace, size);
  }
  static etz_status decode(void* user, void* workspace, const etz_stream* streams, size_t count) {
    auto* const self = static_cast<CountingDecoder*>(user);
    self->calls.fetch_add(1);
    return self->inner->decode(self->inner->user, workspace, streams, count);
  }
};

void check_decoders(const Files& files) {
  CountingDecoder zstd{&etz_decoder_zstd};
  etz_decoder table[1] = {etz_decoder_zstd};
  table[0].user = &zstd;
  table[0].workspace_size = CountingDecoder::workspace_size;
  table[0].prepare = CountingDecoder::prepare;
  table[0].decode = CountingDecoder::decode;
  EtzDataLoaderOptions options;
  options.decoders = table;
  options.decoder_count = 1;
  CHECK(holds(loaded(opened(files, options), 0, files.plain.size()), files.plain, 0));
  CHECK(zstd.calls > 0);
  options.decoder_count = 0;
  const EtzDataLoader without = opened(files, options);
  CHECK(without.load(0, files.plain.size(), kConstant).error() == Error::NotSupported);
}

Error open_error(const Bytes& packed) {
  return EtzDataLoader::from_memory(packed.data(), packed.size()).error();
}

void check_open_errors(const Files& files) {
  CHECK(EtzDataLoader::from("/no/such/file.etz").error() == Error::AccessFailed);
  CHECK(EtzDataLoader::from("/tmp").error() == Error::AccessFailed);
  CHECK(EtzDataLoader::from_file_descriptor(-1).error() == Error::AccessFailed);
  CHECK(EtzDataLoader::from(files.plain_path.c_str()).error() == Error::NotFound);
  CHECK(open_error(files.plain) == Error::NotFound);
  CHECK(open_error(Bytes(files.packed.begin(), files.packed.begin() + 12)) == Error::InvalidProgram);
  CHECK(open_error(Bytes(files.packed.begin(), files.packed.end() - 1)) == Error::InvalidProgram);
  Bytes broken = files.packed;
  broken[broken.size() - 60] ^= 1;
  CHECK(open_error(broken) == Error::InvalidProgram);
  Callback callback{&files.packed, true};
  CHECK(
      EtzDataLoader::from_callback(Callback::read, &callback, files.packed.size()).error() == Error::AccessFailed);

  for (const size_t alignment : {0, 3, 129}) {
    EtzDataLoaderOptions options;
    options.alignment = alignment;
    CHECK(EtzDataLoader::from(files.packed_path.c_str(), options).error() == Error::InvalidArgument);
  }
  EtzDataLoaderOptions options;
  options.threads = 65;
  CHECK(EtzDataLoader::from(files.packed_path.c_str(), options).error() == Error::InvalidArgument);
  options = {};
  options.limits.content_size = files.plain.size() - 1;
  CHECK(EtzDataLoader::from(files.packed_path.c_str(), options).error() == Error::OutOfResources);
  options.limits.content_size = files.plain.size();
  CHECK(EtzDataLoader::from(files.packed_path.c_str(), options).ok());
}

void check_load_errors(const Files& files, size_t threads, size_t read_ahead) {
  const size_t size = files.plain.size();
  EtzDataLoaderOptions options;
  options.threads = threads;
  options.read_ahead = read_ahead;
  {
    const EtzDataLoader loader = opened(files, options);
    for (const auto& [offset, bytes] : std::vector<std::pair<size_t, size_t>>{
             {0, size + 1}, {size, 1}, {size + 1, 0}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX, 1}}) {
      CHECK(loader.load(offset, bytes, kConstant).error() == Error::InvalidArgument);
      CHECK(loader.load_into(offset, bytes, kConstant, nullptr) == Error::InvalidArgument);
    }
  }
  {
    Callback callback{&files.packed};
    auto loader = EtzDataLoader::from_callback(Callback::read, &callback, files.packed.size(), options);
    CHECK(loader.ok());
    callback.fails = true;
    CHECK(loader->load(0, size, kConstant).error() == Error::AccessFailed);
    Bytes into(size, 0xA5);
    CHECK(loader->load_into(0, size, kConstant, into.data()) == Error::AccessFailed);
    CHECK(into == Bytes(size, 0)); // Nothing of what was asked for, and nothing left over.
    callback.fails = false;
    CHECK(holds(loaded(loader.get(), 0, size), files.plain, 0));
  }
  // The file is cut short while it is open.
  char path[] = "/tmp/loader_check_XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0 && unlink(path) == 0);
  CHECK(write(fd, files.packed.data(), files.packed.size()) == static_cast<ssize_t>(files.packed.size()));
  auto loader = EtzDataLoader::from_file_descriptor(fd, 0, UINT64_MAX, options);
  CHECK(loader.ok());
  CHECK(holds(loaded(loader.get(), 0, size), files.plain, 0));
  CHECK(ftruncate(fd, static_cast<off_t>(files.packed.size() / 2)) == 0);
  CHECK(loader->load(0, size, kConstant).error() == Error::AccessFailed);
  CHECK(ftruncate(fd, 0) == 0);
  CHECK(loader->load(0, size, kConstant).error() == Error::AccessFailed);
  close(fd);
}

/// A source of which one read fails, or all from that one on.
struct FlawedCallback {
  const Bytes* bytes;
  const int first;
  std::atomic<int> last;
  std::atomic<int> reads{0};

  static int read(void* user, uint64_t offset, void* dest, size_t size) {
    auto* const self = static_cast<FlawedCallback*>(user);
    memcpy(dest, self->bytes->data() + offset, size);
    const int number = self->reads.fetch_add(1);
    return number >= self->first && number <= self->last ? -1 : 0;
  }
};

/// Whichever reads fail, the load that they are for fails or does without them, and the next one is good.
void check_failing_reads(const Files& files, size_t threads, size_t read_ahead, bool lasting) {
  const size_t size = std::min(files.plain.size(), size_t{1} << 20);
  EtzDataLoaderOptions options;
  options.threads = threads;
  options.read_ahead = read_ahead;
  int opened = 0;
  for (int first = 0;; ++first) {
    FlawedCallback callback{&files.packed, first, lasting ? INT_MAX : first};
    auto loader = EtzDataLoader::from_callback(FlawedCallback::read, &callback, files.packed.size(), options);
    if (!loader.ok()) {
      CHECK(loader.error() == Error::AccessFailed);
      continue;
    }
    ++opened;
    Bytes into(size, 0xA5);
    const Error error = loader->load_into(0, size, kConstant, into.data());
    if (error == Error::Ok) {
      CHECK(memcmp(into.data(), files.plain.data(), size) == 0);
    } else {
      CHECK(error == Error::AccessFailed);
      CHECK(into == Bytes(size, 0));
    }
    if (callback.reads <= first) {
      break;
    }
    callback.last = first;
    CHECK(loader->load_into(0, size, kConstant, into.data()) == Error::Ok);
    CHECK(memcmp(into.data(), files.plain.data(), size) == 0);
  }
  CHECK(opened > 2);
}

/// A decoder for zstd that one context can be made with, and no more.
struct ScarceDecoder {
  std::atomic<int> contexts{0};

  static etz_status prepare(void* user, void* workspace, size_t size) {
    return static_cast<ScarceDecoder*>(user)->contexts.fetch_add(1) == 0
        ? etz_decoder_zstd.prepare(etz_decoder_zstd.user, workspace, size)
        : ETZ_MEMORY;
  }
};

void check_helpers_without_memory(const Files& files) {
  ScarceDecoder scarce;
  etz_decoder table[1] = {etz_decoder_zstd};
  table[0].user = &scarce;
  table[0].prepare = ScarceDecoder::prepare;
  EtzDataLoaderOptions options;
  options.threads = 4;
  options.decoders = table;
  options.decoder_count = 1;
  const EtzDataLoader loader = opened(files, options);
  CHECK(holds(loaded(loader, 0, files.plain.size()), files.plain, 0));
  CHECK(scarce.contexts > 1);
}

/// A source that knows which thread reads what.
struct WatchedCallback {
  const Bytes* bytes;
  std::thread::id loading = std::this_thread::get_id();
  std::atomic<bool> slow{false};
  uint64_t by_loading = 0;
  uint64_t loading_end = 0;
  std::atomic<uint64_t> ahead{0};
  std::atomic<uint64_t> ahead_end{0};

  static int read(void* user, uint64_t offset, void* dest, size_t size) {
    auto* const self = static_cast<WatchedCallback*>(user);
    if (self->slow) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    memcpy(dest, self->bytes->data() + offset, size);
    if (std::this_thread::get_id() == self->loading) {
      self->by_loading += size;
      self->loading_end = offset + size;
    } else {
      self->ahead += size;
      self->ahead_end = offset + size;
    }
    return 0;
  }
};

void check_ahead(const Files& files) {
  const size_t half = files.plain.size() / 2;
  WatchedCallback callback{&files.packed};
  EtzDataLoaderOptions options;
  {
    auto loader = EtzDataLoader::from_callback(WatchedCallback::read, &callback, files.packed.size(), options);
    CHECK(loader.ok());
    loaded(loader.get(), 0, half);
  }
  const uint64_t half_end = callback.loading_end;
  options.read_ahead = 1 << 20;
  {
    auto loader = EtzDataLoader::from_callback(WatchedCallback::read, &callback, files.packed.size(), options);
    CHECK(loader.ok());
    // Neither of two loads follows the other: nothing is read ahead of them.
    loaded(loader.get(), half, 64);
    loaded(loader.get(), 0, 64);
    CHECK(callback.ahead_end == 0);
    CHECK(holds(loaded(loader.get(), 0, half), files.plain, 0));
    // What comes next is read without being asked for.
    for (int i = 0; i < 60000 && callback.ahead_end < half_end + (1 << 19); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    CHECK(callback.ahead_end == half_end + (1 << 19));
    // So the next load's thread reads nothing itself, also if a small load elsewhere came between.
    uint64_t before = callback.by_loading;
    CHECK(holds(loaded(loader.get(), half, 1 << 18), files.plain, half));
    CHECK(callback.by_loading == before);
    loaded(loader.get(), 0, 64);
    before = callback.by_loading;
    CHECK(holds(loaded(loader.get(), half + (1 << 18), 1 << 18), files.plain, half + (1 << 18)));
    CHECK(callback.by_loading == before);
    callback.slow = true;
    loaded(loader.get(), half + (2 << 18), 64);
  } // It is destroyed while the thread reads.
  const uint64_t last = callback.ahead_end;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(callback.ahead_end == last);
}

void check_ahead_of_large_blocks(const Files& files) {
  WatchedCallback callback{&files.packed};
  EtzDataLoaderOptions options;
  options.read_ahead = 1 << 19;
  auto loader = EtzDataLoader::from_callback(WatchedCallback::read, &callback, files.packed.size(), options);
  CHECK(loader.ok());
  CHECK(holds(loaded(loader.get(), 0, files.plain.size()), files.plain, 0));
  // Two reads are a row; what follows is read ahead, and nothing twice.
  CHECK(callback.by_loading < files.packed.size() / 2);
  CHECK(callback.by_loading + callback.ahead < files.packed.size() + (1 << 16));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Last, for it is not undone. Sanitizers need the address space.
void check_without_memory(const Files& files) {
  const EtzDataLoader loader = opened(files);
  loaded(loader, 0, 64).Free();
  const rlimit none{1 << 20, 1 << 20};
  CHECK(setrlimit(RLIMIT_AS, &none) == 0);
  CHECK(loader.load(0, files.plain.size(), kConstant).error() == Error::MemoryAllocationFailed);
}
#endif

void check_errors(const Files& files) {
  check_decoders(files);
  check_open_errors(files);
  for (const size_t read_ahead : {0, 1 << 20}) {
    check_load_errors(files, 1, read_ahead);
    check_load_errors(files, 3, read_ahead);
    for (const bool lasting : {false, true}) {
      check_failing_reads(files, 1, read_ahead, lasting);
      check_failing_reads(files, 3, read_ahead, lasting);
    }
  }
  check_helpers_without_memory(files);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  check_without_memory(files);
#endif
}

void check_threads(const Files& files) {
  for (const size_t workers : {1, 2, 3}) {
    EtzDataLoaderOptions options;
    options.threads = workers;
    options.read_ahead = workers == 1 ? 0 : 1 << 19;
    const EtzDataLoader loader = opened(files, options);
    std::vector<std::thread> threads;
    // What one thread loads, the next frees.
    std::vector<std::vector<FreeableBuffer>> kept(8);
    for (size_t t = 0; t < kept.size(); ++t) {
      threads.emplace_back([&, t] {
        Random random(t);
        for (int i = 0; i < 16; ++i) {
          const size_t offset = random.below(files.plain.size());
          const size_t size = random.below(std::min(files.plain.size() - offset, size_t{1} << 20) + 1);
          FreeableBuffer buffer = loaded(loader, offset, size);
          CHECK(holds(buffer, files.plain, offset));
          Bytes into(size);
          CHECK(loader.load_into(offset, size, kConstant, into.data()) == Error::Ok);
          CHECK(memcmp(into.data(), files.plain.data() + offset, size) == 0);
          if (i % 8 == 0) {
            kept[t].push_back(std::move(buffer));
          }
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    threads.clear();
    for (auto& buffers : kept) {
      threads.emplace_back([&buffers] { buffers.clear(); });
    }
    for (auto& thread : threads) {
      thread.join();
    }
  }
}

/// Flips bits; bytes from `start` to before `end` are ones that no load depends on.
void check_flips(const Files& files, size_t step, size_t start, size_t end) {
  Bytes packed = files.packed;
  size_t flipped = 0;
  for (size_t bit = 0; bit < packed.size() * 8; bit += step, ++flipped) {
    const size_t at = bit / 8;
    const auto mask = static_cast<uint8_t>(1U << (bit % 8));
    packed[at] ^= mask;
    EtzDataLoaderOptions options;
    options.threads = flipped % 16 == 0 ? 2 : 1;
    auto loader = EtzDataLoader::from_memory(packed.data(), packed.size(), options);
    bool gave_error = !loader.ok();
    // NotFound only for another kind of file.
    CHECK(!gave_error || loader.error() != Error::NotFound || at < 8);
    if (!gave_error) {
      auto buffer = loader->load(0, files.plain.size(), kConstant);
      gave_error = !buffer.ok();
      CHECK(gave_error ? buffer.error() != Error::NotFound : holds(buffer.get(), files.plain, 0));
    }
    if (gave_error == (at >= start && at < end)) {
      fprintf(stderr, "bit %zu of byte %zu: %s\n", bit % 8, at, gave_error ? "an error" : "no error");
      exit(1);
    }
    packed[at] ^= mask;
  }
  printf("%zu bits flipped\n", flipped);
}

uint64_t hash(const void* data, size_t size) {
  uint64_t value = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < size; ++i) {
    value = (value ^ static_cast<const uint8_t*>(data)[i]) * UINT64_C(0x100000001b3);
  }
  return value;
}

void print_reading(const char* path) {
  auto loader = EtzDataLoader::from(path);
  if (!loader.ok()) {
    printf("%s from %s\n", path, executorch::runtime::to_string(loader.error()));
    return;
  }
  auto buffer = loader->load(0, loader->size().get(), kConstant);
  if (!buffer.ok()) {
    printf("%s load %s\n", path, executorch::runtime::to_string(buffer.error()));
    return;
  }
  printf("%s ok %016" PRIx64 "\n", path, hash(buffer->data(), buffer->size()));
}

void check_data(const Files& files) {
  using executorch::extension::FileDataLoader;
  using executorch::extension::FlatTensorDataMap;
  auto plain_loader = FileDataLoader::from(files.plain_path.c_str());
  CHECK(plain_loader.ok());
  EtzDataLoader packed_loader = opened(files);
  auto plain = FlatTensorDataMap::load(&plain_loader.get());
  auto packed = FlatTensorDataMap::load(&packed_loader);
  CHECK(plain.ok() && packed.ok());
  const uint32_t count = plain->get_num_keys().get();
  CHECK(count > 0 && packed->get_num_keys().get() == count);
  for (uint32_t i = 0; i < count; ++i) {
    const char* const key = plain->get_key(i).get();
    CHECK(strcmp(key, packed->get_key(i).get()) == 0);
    auto expected = plain->get_data(key);
    auto got = packed->get_data(key);
    CHECK(expected.ok() && got.ok() && expected->size() == got->size());
    CHECK(memcmp(expected->data(), got->data(), got->size()) == 0);
  }
  CHECK(packed->get_data("no such key").error() == Error::NotFound);
}

} // namespace

int main(int count, char** values) {
  executorch::runtime::runtime_init();
  CHECK(count >= 3);
  const std::string check = values[1];
  if (check == "read") {
    for (int i = 2; i < count; ++i) {
      print_reading(values[i]);
    }
    return 0;
  }
  const int first = check == "trap" ? 3 : 2;
  CHECK(count > first + 1);
  Files files{values[first], values[first + 1], {}, {}};
  files.plain = read_file(files.plain_path);
  files.packed = read_file(files.packed_path);
  if (check == "sources") {
    check_sources(files);
  } else if (check == "trap") {
    check_trap(atoi(values[2]), files);
  } else if (check == "errors") {
    check_errors(files);
  } else if (check == "threads") {
    check_threads(files);
  } else if (check == "ahead") {
    check_ahead(files);
  } else if (check == "ahead-large") {
    check_ahead_of_large_blocks(files);
  } else if (check == "flips") {
    CHECK(count == 7);
    check_flips(files, strtoull(values[4], nullptr, 10), strtoull(values[5], nullptr, 10), strtoull(values[6], nullptr, 10));
  } else if (check == "data") {
    check_data(files);
  } else {
    CHECK(!"a check of this name");
  }
  return 0;
}
