"""Numbers as people read them."""

import math
import time

NONE = "–"


def figure(value, digits=4):
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def scaled(value, unit="", step=1000, names=("", "k", "M", "G", "T", "P")):
    if value is None or not math.isfinite(value):
        return NONE
    power = 0
    while abs(value) >= step and power < len(names) - 1:
        value, power = value / step, power + 1
    return f"{value:.3g} {names[power]}{unit}".strip()


def memory(value):
    return scaled(value, "B", 1024, ("", "Ki", "Mi", "Gi", "Ti"))


def share(value):
    return NONE if value is None or not math.isfinite(value) else f"{figure(100 * value, 3)} %"


def duration(seconds):
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02} s"
    minutes, hours = round(seconds / 60), seconds / 3600
    if minutes < 60:
        return f"{minutes} min"
    return f"{int(hours)} h {minutes % 60:02} min" if hours < 48 else f"{hours / 24:.1f} days"


def moment(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
