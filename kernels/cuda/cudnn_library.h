// libcudnn, looked for when it is wanted, so that a program starts without it.
#pragma once

#include <string>

namespace shardora::cuda {

struct CudnnLibrary {
  void* handle = nullptr;  // dlopen's; null: not usable, and `problem` says why
  int version = 0;         // 91900: 9.19.0
  std::string problem;
};
// Loaded once, for the life of the process.
const CudnnLibrary& cudnn_library();

std::string cudnn_version_text(int version);  // "9.19.0"

}  // namespace shardora::cuda
