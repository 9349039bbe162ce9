# What makes a defect in a parser harder to use, at no cost that can be measured: canaries and probes on the stack,
# checked string functions, branch targets, addresses that differ from start to start, and tables that nobody can write
# once the program runs. Not under the sanitizers, which do all of that better and do not go together with some of it.
# tests/launch/hardening_check.py looks at the program.

set(shardora_hardening_flags -fPIE -fstack-protector-strong -fstack-clash-protection)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND shardora_hardening_flags -fcf-protection)
endif()

function(shardora_harden target)
  if(SHARDORA_SANITIZE)
    return()
  endif()
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${shardora_hardening_flags}>
                                           $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIE>)
  # Some distributions define it by themselves. Without optimisation it only warns.
  target_compile_options(${target} PRIVATE
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    target_link_options(${target} PRIVATE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
  endif()
endfunction()
