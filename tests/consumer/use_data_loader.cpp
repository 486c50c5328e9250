// Usage: use_data_loader FILE.etz, which writes the content to stdout: what a program of etpack's users may look like.
#include <cstdio>

#include <executorch/runtime/platform/runtime.h>

#include "etz_data_loader.h"

int main(int argc, char** argv) {
  executorch::runtime::runtime_init();
  auto loader = etpack::EtzDataLoader::from(argc == 2 ? argv[1] : "");
  if (!loader.ok()) {
    return 1;
  }
  const size_t size = loader->size().get();
  auto content = loader->load(0, size, {});
  if (!content.ok()) {
    return 1;
  }
  return fwrite(content->data(), 1, size, stdout) != size;
}
