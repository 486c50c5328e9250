/**
 * @file
 * An ExecuTorch DataLoader over an `.etz`: a `Module` or `Program` loads the packed model from it, block by block, as if it
 * read the `.pte` or `.ptd` that was packed.
 */
#pragma once

#include <cstddef>
#include <cstdint>

#include <executorch/runtime/core/data_loader.h>

#include "etz_reader.h"

namespace etpack {

/// How an EtzDataLoader loads. The defaults suit most programs.
struct EtzDataLoaderOptions {
  /// What the address of each loaded buffer is a multiple of: a power of two. 128 is how ExecuTorch aligns segments in a
  /// file; a model exported with a larger `segment_alignment` may count on more. Below 16 counts as 16, which a program needs.
  size_t alignment = 128;

  /// Threads that decode one large load side by side, the caller's included, at most 64; 0 and 1 mean the caller's alone. The
  /// others are started for a load of `kEtzParallelBytes` or more, and have ended when it returns.
  size_t threads = 1;

  /// Bytes of memory for reading ahead of loads; 0 is not to, and less than 512 KiB counts as that. A thread reads what comes
  /// next in the file while blocks are decoded, and between loads, while a delegate works: for storage that is slower than
  /// these. A megabyte does. The thread and the memory last as long as the loader. Without effect for a source in memory, and
  /// where the system has no thread or memory for it.
  size_t read_ahead = 0;

  /// Ask the system for pages of 2 MiB (Linux, MADV_HUGEPAGE) for those parts of a load that fill them. Memory in use does
  /// not grow by it. Without effect where the system does not offer them.
  bool huge_pages = true;

  /// Keep all loaded buffers until the loader is destroyed: freeing one does nothing. For delegates that keep pointers into
  /// buffers that they have freed. The loader must then outlive all that it loaded, so nothing may use the program after it.
  bool retain_buffers = false;

  /// Decoders, in place of those for zstd and LZ4. They must outlive the loader, as their `user` must.
  const etz_decoder* decoders = nullptr;
  size_t decoder_count = 0;

  /// Inner loops, in place of the fastest ones for this processor.
  const etz_kernels* kernels = nullptr;

  /// What a file may ask for before it is refused.
  etz_limits limits = ETZ_DEFAULT_LIMITS;
};

/// Bytes from which a load is decoded by several threads, where `EtzDataLoaderOptions::threads` allows it.
constexpr size_t kEtzParallelBytes = 512 * 1024;

/**
 * Loads ranges of the content of an `.etz`.
 *
 * All methods are thread-safe. Buffers may be freed by any thread, at any time, also after the loader was destroyed (but see
 * `retain_buffers`). Buffers of 32 KiB or more are given back to the system when they are freed.
 */
class EtzDataLoader final : public executorch::runtime::DataLoader {
 public:
  /**
   * Opens a file. It is read with pread(), never mapped, so a file that is cut short under the loader gives an error.
   *
   * @param[in] path Path of the `.etz`. Need not live on.
   * @param[in] options What to load it with.
   *
   * @retval Error::NotFound The file can be read, and is no `.etz`: it may be a plain `.pte`, for another loader.
   * @retval Error::InvalidProgram The file is truncated or corrupt.
   * @retval Error::NotSupported It needs a newer reader, or streams aligned as it does not have them.
   * @retval Error::OutOfResources It asks for more than `options.limits` allows, or than this machine can address.
   * @retval Error::AccessFailed It cannot be opened or read.
   * @retval Error::MemoryAllocationFailed Not enough memory.
   * @retval Error::InvalidArgument An option is out of bounds.
   */
  static executorch::runtime::Result<EtzDataLoader> from(
      const char* path,
      const EtzDataLoaderOptions& options = EtzDataLoaderOptions());

  /**
   * Opens a part of an open file, such as an uncompressed asset in an Android package.
   *
   * @param[in] fd A descriptor that pread() can read. It is duplicated: the caller's may be closed, and keeps its position.
   * @param[in] offset Where the `.etz` begins in it, in bytes.
   * @param[in] size Bytes of the `.etz`; UINT64_MAX for all that follow `offset`.
   *
   * @retval as from() a path.
   */
  static executorch::runtime::Result<EtzDataLoader> from_file_descriptor(
      int fd,
      uint64_t offset = 0,
      uint64_t size = UINT64_MAX,
      const EtzDataLoaderOptions& options = EtzDataLoaderOptions());

  /**
   * Opens an `.etz` in memory, in place.
   *
   * @param[in] memory `size` bytes that outlive the loader and stay as they are.
   *
   * @retval as from() a path, except Error::AccessFailed.
   */
  static executorch::runtime::Result<EtzDataLoader> from_memory(
      const void* memory,
      size_t size,
      const EtzDataLoaderOptions& options = EtzDataLoaderOptions());

  /**
   * Opens an `.etz` behind a function.
   *
   * @param[in] read_at Reads stored bytes (etz_reader.h). It is called by every thread that loads, and by those that decode or
   *     read ahead (`threads`, `read_ahead`), which have 256 KiB of stack.
   * @param[in] user Passed to it. Must outlive the loader.
   * @param[in] size Bytes of the `.etz`.
   *
   * @retval as from() a path; Error::AccessFailed if `read_at` failed.
   */
  static executorch::runtime::Result<EtzDataLoader> from_callback(
      etz_read_at read_at,
      void* user,
      uint64_t size,
      const EtzDataLoaderOptions& options = EtzDataLoaderOptions());

  /// Movable to be compatible with Result. Not while another thread uses `other`.
  EtzDataLoader(EtzDataLoader&& other) noexcept;

  ~EtzDataLoader() override;

  /**
   * Loads a range of the content into new memory, aligned as the options say.
   *
   * The data of a buffer is never null, nor at the address of another live one, also when `size` is 0.
   *
   * @param[in] offset Content offset, in bytes.
   * @param[in] size Bytes.
   * @param[in] segment_info Not used: it does not always say what is loaded.
   *
   * @retval Error::InvalidArgument The range leaves the content.
   * @retval Error::InvalidProgram A block or page that it touches is corrupt.
   * @retval Error::NotSupported A block needs a newer reader, or a codec for which there is no decoder.
   * @retval Error::AccessFailed The source cannot be read, or is shorter than it was.
   * @retval Error::MemoryAllocationFailed Not enough memory.
   */
  ET_NODISCARD executorch::runtime::Result<executorch::runtime::FreeableBuffer>
  load(size_t offset, size_t size, const SegmentInfo& segment_info)
      const override;

  /**
   * Loads a range of the content into the caller's memory.
   *
   * @param[out] buffer Room for `size` bytes, at any address; may be null if `size` is 0. After InvalidArgument it is as it was;
   *     after any other error it holds zeros.
   *
   * @retval as load().
   */
  ET_NODISCARD executorch::runtime::Error load_into(
      size_t offset,
      size_t size,
      const SegmentInfo& segment_info,
      void* buffer) const override;

  /// Returns the bytes of the content, the file that was packed. Never fails.
  ET_NODISCARD executorch::runtime::Result<size_t> size() const override;

  /**
   * Returns the blocks decoded so far by calls that have returned, for tests and tuning.
   *
   * A block that the last load on the same thread decoded for its edge is not decoded again.
   */
  uint64_t blocks_decoded() const;

 private:
  struct Impl;

  static executorch::runtime::Result<EtzDataLoader> open_source(
      EtzDataLoader loader,
      const EtzDataLoaderOptions& options);

  explicit EtzDataLoader(Impl* impl) : impl_(impl) {}

  EtzDataLoader(const EtzDataLoader&) = delete;
  EtzDataLoader& operator=(const EtzDataLoader&) = delete;
  EtzDataLoader& operator=(EtzDataLoader&&) = delete;

  Impl* impl_; // Owned; null after a move.
};

} // namespace etpack
