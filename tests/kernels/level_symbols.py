"""level_symbols.py NM NAMESPACE OBJECT...: no object of an instruction-set level gives code to the other levels.

Whatever an object defines for other objects must carry the level's namespace in its name. Another name, mostly a template
of the standard library that was not inlined, is one that the linker may choose for the whole program.
"""
import subprocess
import sys


def code_for_others(nm, path):
    """Names of the functions that other objects can be linked to."""
    lines = subprocess.run([nm, "--defined-only", "--extern-only", "--format=posix", "--demangle", path],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    # NAME TYPE VALUE SIZE, the name with spaces in it. V: weak data, which holds no instructions.
    symbols = [line.rsplit(maxsplit=3) for line in lines]
    return [symbol[0] for symbol in symbols if symbol[1] != "V"]


def main(nm, namespace, *objects):
    own = f"shardora::cpu::{namespace}::"
    found = {path: code_for_others(nm, path) for path in objects}
    strangers = [f"{path}: {name}" for path, names in found.items() for name in names if own not in name]
    strangers += [f"{path}: defines nothing at all" for path, names in found.items() if not names]
    print("\n".join(strangers) or f"{len(objects)} objects")
    return 1 if strangers or not objects else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
