# The CUDA toolkit: compiler, runtime, cuBLASLt; cuDNN with its front end, where it is there. Found, never fetched.
# SHARDORA_CUDA_ARCHITECTURES: one is enough for one kind of device (90a: Hopper); the default serves all that the backend
# supports.
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS /usr/local/cuda/bin ENV CUDA_PATH PATH_SUFFIXES bin)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "SHARDORA_CUDA: nvcc was not found. Install the CUDA toolkit 12.4 or newer, and put its bin folder into "
                      "PATH, or set CMAKE_CUDA_COMPILER")
endif()
set(SHARDORA_CUDA_ARCHITECTURES "80;90;100;120" CACHE STRING "Compute capabilities that kernels are compiled for")
set(CMAKE_CUDA_ARCHITECTURES ${SHARDORA_CUDA_ARCHITECTURES})
enable_language(CUDA)
# Debian 12's CMake does not know this flag of nvcc 12.
foreach(kind STANDARD EXTENSION)
  if(NOT CMAKE_CUDA20_${kind}_COMPILE_OPTION)
    set(CMAKE_CUDA20_${kind}_COMPILE_OPTION -std=c++20)
  endif()
endforeach()
set(CMAKE_CUDA_STANDARD 20)
find_package(CUDAToolkit 12.4 REQUIRED)

add_library(shardora_cuda_toolkit INTERFACE)
target_link_libraries(shardora_cuda_toolkit INTERFACE CUDA::cudart_static CUDA::cublasLt ${CMAKE_DL_LIBS})
# Warnings of nvcc and of the compiler behind it are errors; -Wpedantic would complain about nvcc's own output.
# FMT_CONSTEVAL: nvcc cannot evaluate fmt's checks of format strings; the C++ compiler checks the others.
set(shardora_cuda_flags -DFMT_CONSTEVAL= -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr --expt-extended-lambda --Werror=all-warnings
                        -Xcompiler=-Wall,-Wextra,-Wshadow,-Werror,-Wno-missing-field-initializers)

# cuDNN's front end is headers alone, in PyPI's nvidia-cudnn-frontend (launch/install.sh cuda puts it into build/venv); the
# library is opened at run time.
file(GLOB python_folders ${CMAKE_SOURCE_DIR}/build/venv/lib/python3*/site-packages)
set(front_end_hints)
foreach(folder IN LISTS python_folders)
  list(APPEND front_end_hints ${folder}/include ${folder}/nvidia/cudnn/include)
endforeach()
find_path(SHARDORA_CUDNN_FRONTEND cudnn_frontend.h HINTS ${front_end_hints} DOC "The folder of cudnn_frontend.h")
find_path(SHARDORA_CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ${front_end_hints} DOC "The folder of cudnn.h")
if(SHARDORA_CUDNN_FRONTEND AND SHARDORA_CUDNN_INCLUDE)
  set(SHARDORA_CUDNN ON)
else()
  set(SHARDORA_CUDNN OFF)
  message(STATUS "cuDNN's attention is not built in: cudnn_frontend.h or cudnn.h was not found. launch/install.sh cuda, or set "
                 "SHARDORA_CUDNN_FRONTEND and SHARDORA_CUDNN_INCLUDE")
endif()
