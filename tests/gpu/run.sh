#!/usr/bin/env bash
# Everything that needs a GPU, in one go: operations, whole steps, speed and memory at the 8B shape, compute-sanitizer.
# At most ten minutes on one H200, from programs that are built already, on a machine where nothing can be installed.
# Ends with a table; results.json in --out has all of it. Exit status 0: every goal that was measured holds (goals.py);
# 1: one does not; 77: nothing could be measured.
#
#   cmake --preset cuda && cmake --build --preset cuda && tests/gpu/run.sh        where programs are built
#   tests/gpu/pack.sh FILE.tar.gz; … tar xf FILE.tar.gz && gpu/tests/gpu/run.sh   where they are not
#
# Options: see run.py --help. PYTHON names the interpreter; torch, transformers and PEFT in it are compared with.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}

# NVIDIA's libraries are too large to carry: those of the toolkit, else those that torch has brought.
nvidia_libraries() {
  local folder
  for folder in /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib; do
    if [[ -d $folder ]]; then printf ':%s' "$folder"; fi
  done
  "$python" - <<'PYTHON'
import glob, sysconfig
found = set()
for place in {sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}:
    found |= {path.rsplit("/", 1)[0] for path in glob.glob(place + "/nvidia/*/lib/*.so.*")}
print("".join(":" + folder for folder in sorted(found)), end="")
PYTHON
}

prepare_environment() {
  # As root, and with more ranks than cores, Open MPI wants to be told that this is meant.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1
  export OMPI_MCA_btl_vader_single_copy_mechanism=none HWLOC_HIDE_ERRORS=2 PYTHONUNBUFFERED=1
  # For our programs alone: torch brings its own, and must not meet these.
  SHARDORA_LIBRARIES=$root/lib$(nvidia_libraries)
  if [[ -d $root/mpi ]]; then
    # The pack's own Open MPI, which asks where it lies.
    export OPAL_PREFIX=$root/mpi OPAL_LIBDIR=$root/mpi/lib OPAL_PKGLIBDIR=$root/mpi/lib/openmpi3
    export OPAL_PKGDATADIR=$root/mpi/share OPAL_SYSCONFDIR=$root/mpi/etc OPAL_BINDIR=$root/mpi/bin
    export PMIX_PREFIX=$root/mpi PMIX_PKGLIBDIR=$root/mpi/pmix OMPI_MCA_mca_base_component_show_load_errors=0
    export PATH=$root/mpi/bin:$PATH
  fi
  export SHARDORA_LIBRARIES
  if [[ -d $root/data ]]; then export SHARDORA_TEST_DATA=$root/data; fi
}

prepare_environment
exec "$python" "$root/tests/gpu/run.py" "$@"
