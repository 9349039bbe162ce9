#include "runtime/comm/mpi_session.h"

#include <cstdio>
#include <cstdlib>

#include "runtime/comm/agreement.h"
#include "runtime/comm/launcher.h"
#include "runtime/comm/mpi_check.h"
#include "runtime/comm/mpi_communicator.h"

namespace shardora {
namespace {

std::string library_text() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  SHARDORA_CHECK(MPI_Get_library_version(text, &length));  // allowed before MPI_Init
  return text;
}

// MPI itself: up from construction to destruction. A failure of MPI_Init ends the process inside MPI.
struct Runtime {
  Runtime(int& argc, char**& argv, CollectiveObserver* the_observer) : observer(the_observer) {
    const CollectiveScope scope = enter("MPI_Init");
    int provided = MPI_THREAD_SINGLE;
    SHARDORA_CHECK(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    if (provided < MPI_THREAD_FUNNELED) {
      MPI_Finalize();
      refuse(ExitStatus::kUnavailable, "this MPI does not allow threads; expected at least MPI_THREAD_FUNNELED");
    }
  }
  ~Runtime() {
    if (observer != nullptr) observer->mpi_ends();
    const CollectiveScope scope = enter("MPI_Finalize");
    MPI_Finalize();
  }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  CollectiveScope enter(const char* operation) {
    if (observer != nullptr) observer->entered({.group = GroupKind::kWorld, .operation = operation});
    return {observer, GroupKind::kWorld};
  }
  std::unique_ptr<MpiCommunicator> copy_of_world() {
    SHARDORA_CHECK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    const CollectiveScope scope = enter("MPI_Comm_dup");
    MPI_Comm world = MPI_COMM_NULL;
    SHARDORA_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &world));
    return std::make_unique<MpiCommunicator>(world, observer, GroupKind::kWorld);
  }
  CollectiveObserver* observer;  // not owned; null: none
};

// Hosts are named by the lowest rank on them.
std::vector<int> hosts_of_ranks(Communicator& world, Communicator& host) {
  const std::int64_t name = host.all_reduce(std::int64_t{world.rank()}, Reduction::kMin);
  std::vector<std::int64_t> names(static_cast<std::size_t>(world.size()), 0);
  names[static_cast<std::size_t>(world.rank())] = name;
  world.all_reduce(view_of(std::span(names), {world.size()}), Reduction::kSum, Event{});
  return {names.begin(), names.end()};
}

struct Grid {
  std::unique_ptr<MpiCommunicator> data_group, tensor_group;
  ProcessGrid view;
};

}  // namespace

struct MpiSession::Impl {
  Impl(int& argc, char**& argv, CollectiveObserver* observer)
      : runtime(argc, argv, observer), world(runtime.copy_of_world()), host(world->split_by_host()) {}
  Runtime runtime;
  std::unique_ptr<MpiCommunicator> world, host;
  std::vector<std::unique_ptr<Grid>> grids;  // each lives as long as the session
};

MpiSession::MpiSession(int& argc, char**& argv, CollectiveObserver* observer) {
  const Environment environment = [](const char* name) { return std::getenv(name); };
  refuse_launch_without_peers(environment, library_text());
  impl_ = std::make_unique<Impl>(argc, argv, observer);
  refuse_wrong_size(environment, impl_->world->size());
  if (observer == nullptr) return;
  std::vector<int> remote;
  const std::vector<int> hosts = hosts_of_ranks(*impl_->world, *impl_->host);
  const int here = hosts[static_cast<std::size_t>(impl_->world->rank())];
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i] != here) remote.push_back(static_cast<int>(i));
  }
  const CollectiveScope scope = impl_->runtime.enter("MPI_Comm_dup");
  observer->mpi_started(remote);
}

MpiSession::~MpiSession() = default;

std::string MpiSession::library() {
  const std::string text = library_text();
  return text.substr(0, text.find_first_of(",\n"));
}

Communicator& MpiSession::world() { return *impl_->world; }
Communicator& MpiSession::host_group() { return *impl_->host; }
CollectiveObserver* MpiSession::observer() const { return impl_->runtime.observer; }
int MpiSession::host_local_rank() const { return impl_->host->rank(); }
int MpiSession::host_local_size() const { return impl_->host->size(); }

const ProcessGrid& MpiSession::make_grid(const ParallelOptions& options) {
  MpiCommunicator& world = *impl_->world;
  const std::vector<int> hosts = hosts_of_ranks(world, *impl_->host);
  std::vector<GridPlace> places;
  agree(world, [&] { places = place_ranks(hosts, options.tensor); });
  const GridPlace mine = places[static_cast<std::size_t>(world.rank())];
  auto grid = std::make_unique<Grid>();
  grid->data_group = world.split(mine.tensor, mine.data, GroupKind::kData);
  grid->tensor_group = world.split(mine.data, mine.tensor, GroupKind::kTensor);
  grid->view = {.data = {mine.data, world.size() / options.tensor},
                .pipeline = {},
                .tensor = {mine.tensor, options.tensor},
                .hosts = hosts,
                .world = &world,
                .data_group = grid->data_group.get(),
                .tensor_group = grid->tensor_group.get(),
                .warning = spread_warning(hosts, options.tensor)};
  impl_->grids.push_back(std::move(grid));
  return impl_->grids.back()->view;
}

void MpiSession::abort(ExitStatus status) {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(status));
  std::_Exit(static_cast<int>(status));  // MPI_Abort may return
}

}  // namespace shardora
