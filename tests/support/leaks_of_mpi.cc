// Linked into sanitized programs that start MPI. Open MPI keeps some memory until the process ends and unloads its
// plug-ins before the leak checker looks, so that no suppression can name them: such programs are checked for
// everything but leaks. The plain tests, which run the same rooms without MPI, are checked for leaks as well.
extern "C" const char* __asan_default_options();  // NOLINT: the sanitizer's own name
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
