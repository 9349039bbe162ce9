#!/usr/bin/env bash
# One archive of what tests/gpu/run.sh needs on a machine with a GPU where nothing can be installed: the programs of
# build/cuda, the libraries they load but for the compiler's and NVIDIA's own, Open MPI with mpirun, the scripts, and the
# data that whole steps are trained on. That machine's C library must not be older than this one's.
#
#   tests/gpu/pack.sh [--build build/cuda] [--data ../shared/data] OUT.tar.gz
set -euo pipefail
cd "$(dirname "$0")/../.."

build=build/cuda
data=${SHARDORA_TEST_DATA:-../shared/data}
out=
while [[ $# -gt 0 ]]; do
  case $1 in
    --build) build=$2; shift 2 ;;
    --data) data=$2; shift 2 ;;
    -*) echo "tests/gpu/pack.sh: unknown option '$1': expected --build or --data" >&2; exit 64 ;;
    *) out=$1; shift ;;
  esac
done
if [[ -z $out ]]; then echo "tests/gpu/pack.sh: name the archive to write" >&2; exit 64; fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pack=$scratch/gpu
# Part of every system with a C library, or of the driver and of CUDA.
readonly of_the_system='/(ld-linux[^/]*|lib(c|m|stdc\+\+|gcc_s|dl|rt|pthread|util|resolv|cuda|cudart|cublas|cublasLt|cudnn[a-z_]*|nccl|nvrtc|nvidia-ml))\.so'

needs() { # FILE: the libraries it loads, as paths; fails where one is not found
  local listing
  listing=$(ldd "$1")
  if grep -v -E 'lib(cublasLt|cublas|cudnn[a-z_]*|nccl|cuda|cudart)\.so' <<<"$listing" | grep -q 'not found'; then return 1; fi
  awk '$2 == "=>" && $3 ~ /^\// { print $3 }' <<<"$listing" | grep -v -E "$of_the_system" || true
}

copy_programs() {
  mkdir -p "$pack/bin" "$pack/lib"
  local program path
  for program in shardora tests/kernels/kernels_test tests/bench/bench_train; do
    path=$build/$program
    if [[ ! -x $path ]]; then echo "tests/gpu/pack.sh: $path is missing; build the cuda preset with its tests" >&2; exit 66; fi
    install -m 755 -s "$path" "$pack/bin/"
    needs "$path" | xargs -r -I{} cp -Lu {} "$pack/lib/"
  done
}

# Of Open MPI's plugins those that work on one host: the others load libraries of networks.
copy_mpi() {
  local mpi=$pack/mpi plugins folder plugin name
  mkdir -p "$mpi"/{bin,lib/openmpi3,share,etc,pmix}
  plugins=$(ompi_info --parsable --path pkglibdir | cut -d: -f3)
  for name in mpirun orted; do install -m 755 "$(readlink -f "$(command -v $name)")" "$mpi/bin/$name"; needs "$(command -v $name)"; done |
    xargs -r -I{} cp -Lu {} "$pack/lib/"
  for folder in "$plugins":lib/openmpi3 "$(dirname "$(readlink -f /usr/lib/*/libpmix.so.2)")/pmix":pmix; do
    for plugin in "${folder%:*}"/*.so; do
      if needs "$plugin" | grep -q -E '/lib(ucp|uct|ucs|fabric|psm2?|psm_infinipath|ibverbs|rdmacm|efa|oshmem)\.so'; then continue; fi
      cp -L "$plugin" "$mpi/${folder##*:}/"
      needs "$plugin" | xargs -r -I{} cp -Lu {} "$pack/lib/"
    done
  done
  cp /usr/share/openmpi/help-*.txt "$mpi/share/"
  cp /etc/openmpi/openmpi-mca-params.conf "$mpi/etc/"
}

copy_tests_and_data() {
  local folder
  for folder in gpu bench parity; do
    mkdir -p "$pack/tests/$folder"
    cp tests/$folder/*.py "$pack/tests/$folder/"
  done
  cp tests/gpu/run.sh "$pack/tests/gpu/"
  if [[ ! -d $data/models/stories260K ]]; then
    echo "tests/gpu/pack.sh: no test data in $data: whole steps will be skipped there" >&2
    return
  fi
  mkdir -p "$pack/data/models" "$pack/data/text"
  cp -r "$data/models/stories260K" "$pack/data/models/"
  cp "$data/text/tinyshakespeare.txt" "$pack/data/text/"
}

copy_programs
copy_mpi
copy_tests_and_data
chmod -R u+w "$pack"
tar -C "$scratch" -czf "$out" gpu
echo "$out: $(du -h "$out" | cut -f1), unpacked $(du -sh "$pack" | cut -f1); there: tar xf … && gpu/tests/gpu/run.sh"
