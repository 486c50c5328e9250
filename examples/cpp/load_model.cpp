// Loads a model into a Module, packed or plain, and runs nothing: `load_model MODEL`. etpack/runtime/README.md shows open_model().
#include <cstdio>
#include <memory>
#include <utility>

#include <executorch/extension/module/module.h>

#include "etz_data_loader.h"

using etpack::EtzDataLoader;
using executorch::extension::Module;
using executorch::runtime::Error;

// [integration]
Error open_model(const char* path, std::unique_ptr<Module>* module) {
  auto loader = EtzDataLoader::from(path);
  if (loader.ok()) {
    *module = std::make_unique<Module>(std::make_unique<EtzDataLoader>(std::move(loader.get())));
  } else if (loader.error() == Error::NotFound) {
    *module = std::make_unique<Module>(path); // no .etz: a plain .pte
  } else {
    return loader.error();
  }
  return (*module)->load_method("forward");
}
// [integration]

int main(int count, char** values) {
  std::unique_ptr<Module> module;
  const Error error = open_model(count == 2 ? values[1] : "", &module);
  printf("%s\n", executorch::runtime::to_string(error));
  return error == Error::Ok ? 0 : 1;
}
