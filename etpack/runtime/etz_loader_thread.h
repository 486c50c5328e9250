/**
 * @file
 * How EtzDataLoader starts threads. Not for use by others.
 */
#pragma once

#include <pthread.h>

#include <cstddef>

namespace etpack {
namespace internal {

// Reading and decoding use little stack: libzstd's and liblz4's tables lie in the workspace.
constexpr size_t kThreadStack = 256 * 1024;

/// Starts a thread that calls `run(argument)`; false if the system has none to give.
inline bool start_thread(pthread_t* thread, void* (*run)(void*), void* argument) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) {
    return false;
  }
  // A refusal leaves the default, which is larger.
  (void)pthread_attr_setstacksize(&attributes, kThreadStack);
  const bool started = pthread_create(thread, &attributes, run, argument) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}

} // namespace internal
} // namespace etpack
