// For tests on many ranks: the session that tests/support/mpi_main.cc holds for all of them.
// Between two collectives use EXPECT, never ASSERT: a rank that leaves early leaves its peers waiting.
#pragma once

#include <gtest/gtest.h>

#include "runtime/comm/mpi_session.h"

namespace shardora {

MpiSession& mpi_session();

inline Communicator& test_world() { return mpi_session().world(); }

}  // namespace shardora
