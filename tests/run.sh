#!/usr/bin/env bash
# Everything that has to be right before a change goes in: layout of the sources, both builds, all tests in both, the
# build with CUDA where its compiler is installed, and clang-tidy. Starts from a bare Debian 12; what is missing is installed first.
#
#   tests/run.sh            what continuous integration runs
#   tests/run.sh --long     with the long campaigns (CTest label `long`)
#   tests/run.sh --tidy     clang-tidy on every file, not only on those that the last commit or the working tree changed
#
# Every part runs, also after one has failed; the exit status says whether all of them passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=${SHARDORA_JOBS:-$(nproc)}
long=false
tidy_all=false
failed=()

prepare_environment() {
  # Continuous integration runs as root in a container, where Open MPI asks to be told twice that this is meant.
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  # More ranks than cores: threads that spin while they wait would take the cores from the ranks that work.
  export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive OMPI_MCA_mpi_yield_when_idle=1
  # In a container without the capability to read a peer's memory Open MPI would complain at every start.
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
  export HWLOC_HIDE_ERRORS=2 # a container without /sys is no fault
  # Open MPI keeps some memory until the process ends; the file names the places, and nothing of ours.
  export LSAN_OPTIONS="suppressions=$PWD/tests/support/lsan.supp:print_suppressions=0"
  export ASAN_OPTIONS="detect_stack_use_after_return=1:strict_string_checks=1:protect_shadow_gap=0"
  export UBSAN_OPTIONS="print_stacktrace=1"
  export CTEST_OUTPUT_ON_FAILURE=1
}

part() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name"
  if "$@"; then
    echo "== $name: passed, $((SECONDS - begin)) s"
  else
    failed+=("$name")
    echo "== $name: FAILED, $((SECONDS - begin)) s"
  fi
}

sources() { git ls-files -- '*.cc' '*.h' '*.cu' '*.cuh'; }

check_format() { sources | xargs -r clang-format --dry-run --Werror; }

check_scripts() {
  git ls-files -- '*.sh' .ci/run | xargs -r -n 1 bash -n
  git ls-files -- '*.py' | xargs -r python3 -c '
import ast, sys
for name in sys.argv[1:]:
    ast.parse(open(name, encoding="utf-8").read(), name)'
}

test_scripts() {
  local log=build/script_tests.log status=0
  git ls-files -- 'tests/*_test.py' | xargs -r -n 1 -P "$jobs" build/venv/bin/python >"$log" 2>&1 || status=$?
  cat "$log"
  # A file without a test, or no file at all, is a fault of this script.
  awk '/^Ran [0-9]+ test/ { if (!$2) empty++; files++; tests += $2 }
    END { print "scripts: " tests + 0 " tests in " files + 0 " files"; exit !files || empty }' "$log" || status=1
  return "$status"
}

# Every option that a part depends on is set: the folder may have been configured otherwise before, as by the quickstart.
build() { cmake --preset "$1" -DSHARDORA_TESTS=ON -DSHARDORA_COMPILE_TOGETHER=ON && cmake --build --preset "$1" -j "$jobs"; }

run_tests() {
  local arguments=(--preset "$1" --no-tests=error -j $((2 * jobs)))  # many wait for mpirun more than they compute
  if ! $long; then arguments+=(-LE long); fi
  ctest "${arguments[@]}"
}

# Compiles and links what differs with CUDA; what needs a device skips, and says so. One architecture, to save time.
has_nvcc() { command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; }

build_cuda() {
  ./launch/install.sh cuda
  cmake --preset cuda -DSHARDORA_TESTS=ON -DSHARDORA_CUDA_ARCHITECTURES=90a && cmake --build --preset cuda -j "$jobs" --target for_cuda
}

test_cuda() { ctest --preset cuda --no-tests=error -j 2 -L cuda; }

changed_sources() {
  if $tidy_all; then sources; return; fi
  { git diff --name-only --diff-filter=d HEAD; git diff --name-only --diff-filter=d HEAD~1 HEAD; } 2>/dev/null | sort -u
}

check_tidy() {
  local files=() compiled tidy
  # A build's files are compiled several at a time; here each has a command line of its own. Headers are checked through
  # their users.
  cmake --preset release -B build/tidy -DSHARDORA_TESTS=ON -DSHARDORA_COMPILE_TOGETHER=OFF >/dev/null
  compiled=$(python3 -c '
import json, os
print("\n".join(os.path.relpath(entry["file"]) for entry in json.load(open("build/tidy/compile_commands.json"))))')
  mapfile -t files < <(changed_sources | grep '\.cc$' | grep -Fxf <(echo "$compiled") || true)
  echo "clang-tidy: ${#files[@]} files"
  if [[ ${#files[@]} == 0 ]]; then return; fi
  tidy=$(command -v clang-tidy-16 || command -v clang-tidy)
  # Its standard error only counts the warnings that it has suppressed in other people's headers.
  printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$jobs" "$tidy" -p build/tidy --quiet 2>/dev/null
}

main() {
  local argument preset
  for argument in "$@"; do
    case $argument in
      --long) long=true ;;
      --tidy) tidy_all=true ;;
      *) echo "tests/run.sh: unknown option '$argument': expected --long or --tidy" >&2; exit 64 ;;
    esac
  done
  ./launch/install.sh build tests lint data report
  prepare_environment
  part "clang-format" check_format
  part "scripts" check_scripts
  for preset in release debug; do
    part "build $preset" build "$preset"
    if [[ $preset == release ]]; then part "script tests" test_scripts; fi  # some of them start the program
    part "tests $preset" run_tests "$preset"
  done
  if has_nvcc; then
    part "build cuda" build_cuda
    part "tests cuda" test_cuda
  else
    echo "== cuda: skipped, nvcc was not found"
  fi
  part "clang-tidy" check_tidy
  if [[ ${#failed[@]} -gt 0 ]]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
  fi
  echo "All parts passed, $SECONDS s."
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then main "$@"; fi
