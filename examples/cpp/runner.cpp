/**
 * Loads a model with one of ExecuTorch's loaders, or an `.etz` with etpack's, runs a method on made-up inputs, and prints a
 * hash of the outputs, the time that loading took, and the memory in use.
 *
 *     runner model.etz --loader etz [--method forward] [--data weights.ptd] [--threads 2] [--read-ahead BYTES]
 *                      [--align 128] [--huge-pages 0|1] [--retain] [--load-only] [--throttle MB_PER_SECOND] [--log calls.jsonl]
 *     runner model.pte --loader file|mmap|buffer ...
 *
 * `--data` names the external weights, packed if the model is. `--throttle` makes storage as slow as that
 * (throttled_data_loader.h), and prints how many bytes were read. `--log` writes down every call that ExecuTorch makes of the
 * loaders, and every free (tracing_data_loader.h). The exit status is 0, 1 if ExecuTorch reports an error, 2 for wrong usage.
 */
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/data_loader/file_data_loader.h>
#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/platform/platform.h>

#include "etz_data_loader.h"
#include "throttled_data_loader.h"
#include "tracing_data_loader.h"

using executorch::extension::BufferDataLoader;
using executorch::extension::FileDataLoader;
using executorch::extension::MmapDataLoader;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::DataLoader;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::Result;
using executorch::runtime::Tag;

// ExecuTorch's log: errors only.
extern "C" void et_pal_emit_log_message(
    et_timestamp_t /*timestamp*/,
    et_pal_log_level_t level,
    const char* /*filename*/,
    const char* /*function*/,
    size_t /*line*/,
    const char* message,
    size_t /*length*/) {
  if (level == kError || level == kFatal) {
    fprintf(stderr, "%s\n", message);
  }
}

namespace {

struct Arguments {
  std::string model;
  std::string data;
  std::string loader = "file";
  std::string method = "forward";
  std::string log;
  bool load_only = false;
  std::shared_ptr<Throttle> throttle;
  etpack::EtzDataLoaderOptions options;
};

bool parse(int count, char** values, Arguments* out) {
  for (int i = 1; i < count; ++i) {
    const std::string name = values[i];
    if (name.rfind("--", 0) != 0) {
      if (!out->model.empty()) {
        return false;
      }
      out->model = name;
      continue;
    }
    if (name == "--load-only") {
      out->load_only = true;
      continue;
    }
    if (name == "--retain") {
      out->options.retain_buffers = true;
      continue;
    }
    if (++i == count) {
      return false;
    }
    const char* const value = values[i];
    if (name == "--loader") {
      out->loader = value;
    } else if (name == "--method") {
      out->method = value;
    } else if (name == "--data") {
      out->data = value;
    } else if (name == "--log") {
      out->log = value;
    } else if (name == "--threads") {
      out->options.threads = strtoull(value, nullptr, 10);
    } else if (name == "--read-ahead") {
      out->options.read_ahead = strtoull(value, nullptr, 10);
    } else if (name == "--align") {
      out->options.alignment = strtoull(value, nullptr, 10);
    } else if (name == "--throttle") {
      const double speed = strtod(value, nullptr);
      if (!(speed > 0)) {
        return false;
      }
      out->throttle = std::make_shared<Throttle>(speed);
    } else if (name == "--huge-pages") {
      out->options.huge_pages = strcmp(value, "0") != 0;
    } else {
      return false;
    }
  }
  return !out->model.empty();
}

/// A BufferDataLoader and the whole file that it serves.
class WholeFileLoader final : public DataLoader {
 public:
  explicit WholeFileLoader(std::vector<uint8_t> bytes)
      : bytes_(std::move(bytes)), loader_(bytes_.data(), bytes_.size()) {}

  Result<executorch::runtime::FreeableBuffer> load(size_t offset, size_t size, const SegmentInfo& info) const override {
    return loader_.load(offset, size, info);
  }
  Error load_into(size_t offset, size_t size, const SegmentInfo& info, void* buffer) const override {
    return loader_.load_into(offset, size, info, buffer);
  }
  Result<size_t> size() const override {
    return loader_.size();
  }

 private:
  const std::vector<uint8_t> bytes_;
  BufferDataLoader loader_;
};

Result<std::unique_ptr<DataLoader>> read_whole_file(const char* path, Throttle* throttle) {
  FILE* const file = fopen(path, "rb");
  if (file == nullptr) {
    return Error::AccessFailed;
  }
  fseek(file, 0, SEEK_END);
  std::vector<uint8_t> bytes(static_cast<size_t>(ftell(file)));
  rewind(file);
  const Throttle::Time there = throttle == nullptr ? Throttle::Time() : throttle->begin(bytes.size());
  const size_t got = fread(bytes.data(), 1, bytes.size(), file);
  fclose(file);
  Throttle::wait(there);
  if (got != bytes.size()) {
    return Error::AccessFailed;
  }
  return std::unique_ptr<DataLoader>(std::make_unique<WholeFileLoader>(std::move(bytes)));
}

template <typename Loader>
Result<std::unique_ptr<DataLoader>> owned(Result<Loader> loader) {
  if (!loader.ok()) {
    return loader.error();
  }
  return std::unique_ptr<DataLoader>(std::make_unique<Loader>(std::move(loader.get())));
}

/// An EtzDataLoader and the slow file that it reads.
class ThrottledEtzLoader final : public DataLoader {
 public:
  ThrottledEtzLoader(std::unique_ptr<ThrottledFile> file, etpack::EtzDataLoader loader)
      : file_(std::move(file)), loader_(std::move(loader)) {}

  Result<executorch::runtime::FreeableBuffer> load(size_t offset, size_t size, const SegmentInfo& info) const override {
    return loader_.load(offset, size, info);
  }
  Error load_into(size_t offset, size_t size, const SegmentInfo& info, void* buffer) const override {
    return loader_.load_into(offset, size, info, buffer);
  }
  Result<size_t> size() const override {
    return loader_.size();
  }

 private:
  const std::unique_ptr<ThrottledFile> file_;
  const etpack::EtzDataLoader loader_;
};

Result<std::unique_ptr<DataLoader>> open_throttled_etz(const Arguments& arguments, const char* path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
  if (end < 0) {
    return Error::AccessFailed;
  }
  auto file = std::make_unique<ThrottledFile>(fd, arguments.throttle);
  auto loader = etpack::EtzDataLoader::from_callback(
      ThrottledFile::read_at, file.get(), static_cast<uint64_t>(end), arguments.options);
  if (!loader.ok()) {
    return loader.error();
  }
  return std::unique_ptr<DataLoader>(
      std::make_unique<ThrottledEtzLoader>(std::move(file), std::move(loader.get())));
}

Result<std::unique_ptr<DataLoader>> throttled(
    Result<std::unique_ptr<DataLoader>> loader,
    const std::shared_ptr<Throttle>& throttle) {
  if (loader.ok() && throttle != nullptr) {
    loader.get() = std::make_unique<ThrottledDataLoader>(std::move(loader.get()), throttle);
  }
  return loader;
}

Result<std::unique_ptr<DataLoader>> open_loader(const Arguments& arguments, const char* path) {
  if (arguments.loader == "file") {
    return throttled(owned(FileDataLoader::from(path)), arguments.throttle);
  }
  if (arguments.loader == "mmap") {
    return throttled(owned(MmapDataLoader::from(path, MmapDataLoader::MlockConfig::NoMlock)), arguments.throttle);
  }
  if (arguments.loader == "buffer") {
    return read_whole_file(path, arguments.throttle.get());
  }
  if (arguments.loader == "etz") {
    return arguments.throttle == nullptr ? owned(etpack::EtzDataLoader::from(path, arguments.options))
                                         : open_throttled_etz(arguments, path);
  }
  return Error::InvalidArgument;
}

/// Bytes that /proc/self/status gives under `name`, 0 where there is no such file.
uint64_t memory_bytes(const char* name) {
  uint64_t kilobytes = 0;
  FILE* const file = fopen("/proc/self/status", "r");
  if (file == nullptr) {
    return 0;
  }
  char line[256];
  const size_t length = strlen(name);
  while (fgets(line, sizeof(line), file) != nullptr) {
    if (strncmp(line, name, length) == 0 && line[length] == ':') {
      kilobytes = strtoull(line + length + 1, nullptr, 10);
    }
  }
  fclose(file);
  return kilobytes * 1024;
}

void print_memory(const char* moment) {
  printf("resident_%s_bytes: %" PRIu64 "\n", moment, memory_bytes("VmRSS"));
  printf("peak_%s_bytes: %" PRIu64 "\n", moment, memory_bytes("VmHWM"));
}

/// FNV-1a over all that makes up an output.
class Hash {
 public:
  void add(const void* data, size_t size) {
    const auto* const bytes = static_cast<const uint8_t*>(data);
    for (size_t i = 0; i < size; ++i) {
      value_ = (value_ ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
  }
  template <typename T>
  void add_value(T value) {
    add(&value, sizeof(value));
  }
  uint64_t value() const {
    return value_;
  }

 private:
  uint64_t value_ = UINT64_C(0xcbf29ce484222325);
};

bool add_output(Hash* hash, const EValue& output) {
  hash->add_value(output.tag);
  if (output.isTensor()) {
    const auto tensor = output.toTensor();
    hash->add_value(tensor.scalar_type());
    for (const auto size : tensor.sizes()) {
      hash->add_value(size);
    }
    hash->add(tensor.const_data_ptr(), tensor.nbytes());
    return true;
  }
  if (output.isInt()) {
    hash->add_value(output.toInt());
    return true;
  }
  if (output.isDouble()) {
    hash->add_value(output.toDouble());
    return true;
  }
  if (output.isBool()) {
    hash->add_value(output.toBool());
    return true;
  }
  return output.isNone();
}

/// Fills a tensor with numbers that look like none in particular and are always the same: floats in [-1, 1), integers that
/// are good as token, position and mask.
bool fill(const TensorPtr& tensor) {
  uint32_t state = 1;
  const auto next = [&state] { return state = state * 1664525U + 1013904223U; };
  const auto count = static_cast<size_t>(tensor->numel());
  const auto fill_as = [&](auto* data, auto make) {
    for (size_t i = 0; i < count; ++i) {
      data[i] = make(next());
    }
  };
  const auto unit = [](uint32_t random) { return static_cast<float>(random >> 8) / 8388608.0F - 1.0F; };
  using executorch::aten::ScalarType;
  switch (tensor->scalar_type()) {
    case ScalarType::Float:
      fill_as(tensor->mutable_data_ptr<float>(), unit);
      return true;
    case ScalarType::Half:
      fill_as(tensor->mutable_data_ptr<executorch::aten::Half>(), [&](uint32_t r) { return executorch::aten::Half(unit(r)); });
      return true;
    case ScalarType::BFloat16:
      fill_as(
          tensor->mutable_data_ptr<executorch::aten::BFloat16>(),
          [&](uint32_t r) { return executorch::aten::BFloat16(unit(r)); });
      return true;
    case ScalarType::Long:
      fill_as(tensor->mutable_data_ptr<int64_t>(), [](uint32_t r) { return static_cast<int64_t>(1 + (r >> 30)); });
      return true;
    case ScalarType::Int:
      fill_as(tensor->mutable_data_ptr<int32_t>(), [](uint32_t r) { return static_cast<int32_t>(1 + (r >> 30)); });
      return true;
    case ScalarType::Bool:
      fill_as(tensor->mutable_data_ptr<bool>(), [](uint32_t) { return true; });
      return true;
    default:
      return false;
  }
}

Result<std::vector<EValue>> make_inputs(Module& module, const std::string& method, std::vector<TensorPtr>* tensors) {
  const auto meta = module.method_meta(method);
  if (!meta.ok()) {
    return meta.error();
  }
  std::vector<EValue> inputs;
  for (size_t i = 0; i < meta->num_inputs(); ++i) {
    const auto tag = meta->input_tag(i);
    if (!tag.ok()) {
      return tag.error();
    }
    if (tag.get() == Tag::Int) {
      inputs.emplace_back(static_cast<int64_t>(1));
      continue;
    }
    const auto info = meta->input_tensor_meta(i);
    if (!info.ok()) {
      return info.error();
    }
    const auto sizes = info->sizes();
    TensorPtr tensor = executorch::extension::empty(
        std::vector<executorch::aten::SizesType>(sizes.begin(), sizes.end()), info->scalar_type());
    if (!fill(tensor)) {
      return Error::NotImplemented;
    }
    tensors->push_back(tensor);
    inputs.emplace_back(*tensor);
  }
  return inputs;
}

int failed(const char* step, Error error) {
  fprintf(stderr, "runner: %s: %s\n", step, executorch::runtime::to_string(error));
  return 1;
}

int run(const Arguments& arguments, const std::shared_ptr<TraceLog>& log) {
  const auto start = std::chrono::steady_clock::now();
  const auto opened = [&](const std::string& path, const char* source) {
    auto loader = open_loader(arguments, path.c_str());
    if (loader.ok() && log != nullptr) {
      loader.get() = std::make_unique<TracingDataLoader>(std::move(loader.get()), source, log);
    }
    return loader;
  };
  const auto phase = [&](const char* name) {
    if (log != nullptr) {
      log->phase(name);
    }
  };

  print_memory("start");
  auto loader = opened(arguments.model, "program");
  if (!loader.ok()) {
    return failed("cannot open the model", loader.error());
  }
  std::unique_ptr<DataLoader> data_loader;
  if (!arguments.data.empty()) {
    auto data = opened(arguments.data, "data");
    if (!data.ok()) {
      return failed("cannot open the data", data.error());
    }
    data_loader = std::move(data.get());
  }
  {
    Module module(std::move(loader.get()), nullptr, nullptr, nullptr, std::move(data_loader));
    phase("load program");
    Error error = module.load();
    if (error != Error::Ok) {
      return failed("cannot load the program", error);
    }
    phase("load method");
    error = module.load_method(arguments.method);
    if (error != Error::Ok) {
      return failed("cannot load the method", error);
    }
    phase("method loaded");
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    printf("load_seconds: %.6f\n", seconds.count());
    if (arguments.throttle != nullptr) {
      printf("bytes_read: %" PRIu64 "\n", arguments.throttle->bytes());
    }
    print_memory("loaded");

    if (!arguments.load_only) {
      std::vector<TensorPtr> tensors;
      auto inputs = make_inputs(module, arguments.method, &tensors);
      if (!inputs.ok()) {
        return failed("cannot make inputs", inputs.error());
      }
      phase("execute");
      const auto before = std::chrono::steady_clock::now();
      auto outputs = module.execute(arguments.method, inputs.get());
      if (!outputs.ok()) {
        return failed("cannot execute the method", outputs.error());
      }
      const std::chrono::duration<double> executed = std::chrono::steady_clock::now() - before;
      Hash hash;
      for (const EValue& output : outputs.get()) {
        if (!add_output(&hash, output)) {
          return failed("cannot hash an output", Error::NotImplemented);
        }
      }
      printf("execute_seconds: %.6f\n", executed.count());
      printf("outputs: %zu\n", outputs->size());
      printf("outputs_hash: %016" PRIx64 "\n", hash.value());
      print_memory("executed");
    }
    phase("destroy module");
  }
  phase("end");
  print_memory("end");
  return 0;
}

} // namespace

int main(int count, char** values) {
  Arguments arguments;
  if (!parse(count, values, &arguments)) {
    fprintf(
        stderr,
        "usage: runner MODEL [--loader file|mmap|buffer|etz] [--method NAME] [--data FILE] [--log FILE] [--load-only]\n"
        "              [--threads N] [--read-ahead BYTES] [--align N] [--huge-pages 0|1] [--retain] [--throttle MB_PER_SECOND]\n");
    return 2;
  }
  if (arguments.log.empty()) {
    return run(arguments, nullptr);
  }
  FILE* const out = fopen(arguments.log.c_str(), "w");
  if (out == nullptr) {
    fprintf(stderr, "runner: cannot write %s\n", arguments.log.c_str());
    return 2;
  }
  int status = run(arguments, std::make_shared<TraceLog>(out));
  if (fclose(out) != 0) {
    fprintf(stderr, "runner: cannot write %s\n", arguments.log.c_str());
    status = 2;
  }
  return status;
}
