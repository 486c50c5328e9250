/**
 * @file
 * What the checks of the loader share. A check that fails prints why and ends the process with status 1.
 */
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <executorch/runtime/core/data_loader.h>

#include "etz_data_loader.h"

#define CHECK(condition) \
  ((condition) ? (void)0 : fail(__FILE__, __LINE__, #condition))

[[noreturn]] inline void fail(const char* file, int line, const char* what) {
  fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
  exit(1);
}

using Bytes = std::vector<uint8_t>;
using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;
using SegmentInfo = DataLoader::SegmentInfo;
using etpack::EtzDataLoader;
using etpack::EtzDataLoaderOptions;

/// A file, plain and packed.
struct Files {
  std::string plain_path;
  std::string packed_path;
  Bytes plain;
  Bytes packed;
};

inline const SegmentInfo kConstant{SegmentInfo::Type::Constant};

inline Bytes read_file(const std::string& path) {
  FILE* const file = fopen(path.c_str(), "rb");
  CHECK(file != nullptr);
  Bytes bytes;
  uint8_t chunk[65536];
  for (size_t got = 0; (got = fread(chunk, 1, sizeof(chunk), file)) > 0;) {
    bytes.insert(bytes.end(), chunk, chunk + got);
  }
  fclose(file);
  return bytes;
}

inline EtzDataLoader opened(const Files& files, const EtzDataLoaderOptions& options = {}) {
  auto loader = EtzDataLoader::from(files.packed_path.c_str(), options);
  CHECK(loader.ok());
  return std::move(loader.get());
}

inline FreeableBuffer loaded(const EtzDataLoader& loader, size_t offset, size_t size) {
  auto buffer = loader.load(offset, size, kConstant);
  CHECK(buffer.ok());
  CHECK(buffer->size() == size);
  CHECK(buffer->data() != nullptr);
  return std::move(buffer.get());
}

inline bool holds(const FreeableBuffer& buffer, const Bytes& content, size_t offset) {
  return memcmp(buffer.data(), content.data() + offset, buffer.size()) == 0;
}

/// The same numbers in each run.
class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed * 2 + 1) {}
  size_t below(size_t limit) {
    state_ = state_ * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return static_cast<size_t>((state_ >> 24) % limit);
  }

 private:
  uint64_t state_;
};

/// Runs the check for one of the traps of ExecuTorch's loaders, 1 to 12; tests/runtime/loader/README.md lists them.
void check_trap(int number, const Files& files);
