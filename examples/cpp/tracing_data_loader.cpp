#include "tracing_data_loader.h"

#include <cinttypes>
#include <chrono>
#include <utility>

using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;
using SegmentInfo = DataLoader::SegmentInfo;

namespace {

const char* type_name(SegmentInfo::Type type) {
  switch (type) {
    case SegmentInfo::Type::Program:
      return "Program";
    case SegmentInfo::Type::Constant:
      return "Constant";
    case SegmentInfo::Type::Backend:
      return "Backend";
    case SegmentInfo::Type::Mutable:
      return "Mutable";
    case SegmentInfo::Type::External:
      return "External";
  }
  return "unknown";
}

// A descriptor comes from the model, so it may hold anything.
std::string quoted(const char* text) {
  if (text == nullptr) {
    return "null";
  }
  std::string out = "\"";
  for (; *text != '\0'; ++text) {
    const auto byte = static_cast<unsigned char>(*text);
    if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') {
      char escaped[8];
      snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
      out += escaped;
    } else {
      out += *text;
    }
  }
  return out + "\"";
}

std::string number(const char* name, uint64_t value) {
  return std::string(", \"") + name + "\": " + std::to_string(value);
}

std::string described(const char* source, size_t offset, size_t size, const SegmentInfo& info, Error error) {
  return std::string(", \"source\": ") + quoted(source) + number("offset", offset) + number("size", size) +
      ", \"type\": \"" + type_name(info.segment_type) + "\"" + number("index", info.segment_index) +
      ", \"descriptor\": " + quoted(info.descriptor) + number("error", static_cast<uint64_t>(error));
}

class Stopwatch {
 public:
  uint64_t microseconds() const {
    return static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start_).count());
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace

// What a wrapped buffer needs to be freed when its loader is gone.
struct TraceLog::Traced {
  FreeableBuffer inner;
  std::shared_ptr<TraceLog> log;
  const char* source;
  uint64_t number;

  static void free(void* context, void* /*data*/, size_t size) {
    auto* const traced = static_cast<Traced*>(context);
    traced->inner.Free();
    traced->log->freed(traced->source, traced->number, size);
    delete traced;
  }
};

void TraceLog::phase(const char* name) {
  called("phase", ", \"name\": " + quoted(name), false, 0, 0);
}

uint64_t TraceLog::new_buffer() {
  std::lock_guard<std::mutex> guard(lock_);
  return buffers_++;
}

void TraceLog::called(const char* call, const std::string& fields, bool has_buffer, uint64_t buffer, size_t bytes) {
  const std::string buffer_field = has_buffer ? number("buffer", buffer) : "";
  std::lock_guard<std::mutex> guard(lock_);
  live_bytes_ += bytes;
  fprintf(
      out_,
      "{\"n\": %" PRIu64 ", \"call\": \"%s\"%s%s, \"live\": %" PRIu64 "}\n",
      lines_++,
      call,
      fields.c_str(),
      buffer_field.c_str(),
      live_bytes_);
}

void TraceLog::freed(const char* source, uint64_t buffer, size_t size) {
  std::lock_guard<std::mutex> guard(lock_);
  live_bytes_ -= size;
  fprintf(
      out_,
      "{\"n\": %" PRIu64 ", \"call\": \"free\", \"source\": %s, \"buffer\": %" PRIu64 ", \"size\": %zu, \"live\": %" PRIu64
      "}\n",
      lines_++,
      quoted(source).c_str(),
      buffer,
      size,
      live_bytes_);
}

TracingDataLoader::TracingDataLoader(
    std::unique_ptr<DataLoader> loader,
    const char* source,
    std::shared_ptr<TraceLog> log)
    : loader_(std::move(loader)), source_(source), log_(std::move(log)) {}

Result<FreeableBuffer> TracingDataLoader::load(size_t offset, size_t size, const SegmentInfo& segment_info) const {
  const Stopwatch watch;
  Result<FreeableBuffer> loaded = loader_->load(offset, size, segment_info);
  const std::string fields = described(source_, offset, size, segment_info, loaded.error()) +
      number("microseconds", watch.microseconds());
  // A buffer without data has nothing to free, and its free function is never called.
  if (!loaded.ok() || loaded->data() == nullptr) {
    log_->called("load", fields, false, 0, 0);
    return loaded;
  }
  const void* const data = loaded->data();
  const uint64_t buffer = log_->new_buffer();
  log_->called("load", fields, true, buffer, size);
  auto* const traced = new TraceLog::Traced{std::move(loaded.get()), log_, source_, buffer};
  return FreeableBuffer(data, size, TraceLog::Traced::free, traced);
}

Error TracingDataLoader::load_into(size_t offset, size_t size, const SegmentInfo& segment_info, void* buffer) const {
  const Stopwatch watch;
  const Error error = loader_->load_into(offset, size, segment_info, buffer);
  log_->called(
      "load_into",
      described(source_, offset, size, segment_info, error) + number("microseconds", watch.microseconds()),
      false,
      0,
      0);
  return error;
}

Result<size_t> TracingDataLoader::size() const {
  Result<size_t> size = loader_->size();
  log_->called(
      "size",
      std::string(", \"source\": ") + quoted(source_) + number("size", size.ok() ? size.get() : 0) +
          number("error", static_cast<uint64_t>(size.error())),
      false,
      0,
      0);
  return size;
}
