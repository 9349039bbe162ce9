"""config.resolved.cfg, as the program writes it, and reading of text that may not be there."""

from shardora.errors import INPUT_OUTPUT, Error


def read_text(path):
    """The file's text, None where there is none. Bytes that are no UTF-8 are replaced."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise Error(f"{path}: {problem.strerror}", INPUT_OUTPUT) from None


def read_config(path):
    """The INI form of config.resolved.cfg as section.key -> value."""
    section, config = "", {}
    for line in (read_text(path) or "").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1] + "."
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            config[section + key.strip()] = value.strip()
    return config
