# What makes a defect in a parser harder to use: canaries and probes on the stack, checked string functions, branch
# targets, addresses that differ from start to start, and tables that nobody can write once the program runs. Not under
# the sanitizers, which do all of that better and do not go together with some of it.
# The kernels only get the addresses: they see no byte from outside before its size is checked, and canaries cost the
# smallest of them up to a fifth. tests/launch/hardening_check.py looks at the program.
include(CheckCXXSourceCompiles)

set(shardora_hardening_flags -fstack-protector-strong -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND shardora_hardening_flags -fcf-protection)
endif()
check_cxx_source_compiles("
#ifndef __PIE__
#error
#endif
int main() {}" SHARDORA_PIE_BY_DEFAULT)

function(shardora_position_independent target)
  if(NOT SHARDORA_PIE_BY_DEFAULT)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIE> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIE>)
  endif()
endfunction()

function(shardora_harden target)
  shardora_position_independent(${target})
  if(SHARDORA_SANITIZE)
    return()
  endif()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${shardora_hardening_flags}>)
  # Some distributions define it by themselves. Without optimisation it only warns.
  target_compile_options(${target} PRIVATE
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    target_link_options(${target} PRIVATE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
  endif()
endfunction()
