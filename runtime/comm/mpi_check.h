// SHARDORA_CHECK for MPI: the overload that knows MPI's statuses. Communicators of this program return their errors
// (MPI_ERRORS_RETURN), so that a failure becomes one message instead of MPI's own pages.
#pragma once

#include <mpi.h>

#include "kernels/check.h"

namespace shardora {

inline void require_ok(int status, const char* expression) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "unknown error";
  int length = 0;
  MPI_Error_string(status, text, &length);
  refuse(ExitStatus::kUnavailable, "MPI failed: {} ({}); a peer or the network may be gone", text, expression);
}

}  // namespace shardora
