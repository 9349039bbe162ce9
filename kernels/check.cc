#include "kernels/check.h"

namespace shardora {

void fail(std::string_view what, const char* expression, std::source_location at) {
  refuse(ExitStatus::kInternal, "{}: {} at {}:{} in {}; this is a defect, please report it", what, expression,
         at.file_name(), at.line(), at.function_name());
}

void contract_broken(const char* expression, std::source_location at) { fail("contract broken", expression, at); }

}  // namespace shardora
