"""Fewer points that look like all of them: the range is cut into equal pieces, and of each piece its lowest and its
highest point are kept, so that no spike is lost. First and last point always stay."""

import numpy as np

MOST_POINTS = 2000


def kept(values, most=MOST_POINTS):
    """Indices, rising, of at most `most` of the values. One that is not finite counts as the highest of its piece, so
    that a gap stays a gap."""
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count <= most:
        return np.arange(count)
    pieces = (most - 2) // 2
    edges = np.linspace(1, count - 1, pieces + 1).astype(np.int64)
    chosen = [0, count - 1]
    finite = np.isfinite(values)
    lows, highs = np.where(finite, values, np.inf), np.where(finite, values, np.inf)
    for begin, end in zip(edges[:-1], edges[1:]):
        chosen += (begin + int(np.argmin(lows[begin:end])), begin + int(np.argmax(highs[begin:end])))
    return np.unique(chosen)


def smooth(values, weight):
    """Exponential moving average that starts unbiased; what is not finite is passed over."""
    result = np.full(len(values), np.nan)
    total = share = 0.0
    for i, value in enumerate(values):
        if np.isfinite(value):
            total = weight * total + (1 - weight) * value
            share = weight * share + (1 - weight)
        result[i] = total / share if share else np.nan
    return result
