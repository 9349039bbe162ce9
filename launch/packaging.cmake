# `cmake --install build/release --prefix DIR` and `cpack --config build/release/CPackConfig.cmake`: a tree that may lie
# anywhere, for people who may install nothing. The libraries that a cluster lacks lie beside the program; MPI, CUDA and
# NCCL are the cluster's own.
set_target_properties(shardora PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
install(TARGETS shardora RUNTIME_DEPENDENCY_SET shardora_libraries RUNTIME DESTINATION bin)
install(RUNTIME_DEPENDENCY_SET shardora_libraries
        PRE_INCLUDE_REGEXES "^lib(dnnl|fmt|spdlog|boost_program_options|xxhash|gomp)"
        PRE_EXCLUDE_REGEXES "."
        LIBRARY DESTINATION lib)

set(share share/shardora)
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/SECURITY.md DESTINATION ${share})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/configs DESTINATION ${share})
install(PROGRAMS install.sh moved.py convert_config.py local.sh hosts.sh DESTINATION ${share}/launch)
install(FILES pyproject.toml DESTINATION ${share}/launch)
install(DIRECTORY analyze common data docs eval report shardora slurm DESTINATION ${share}/launch USE_SOURCE_PERMISSIONS PATTERN __pycache__ EXCLUDE)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME shardora)
set(CPACK_PACKAGE_FILE_NAME shardora-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
