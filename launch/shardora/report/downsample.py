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


def smooth(values, half):
    """Mean over `half` values to either side, over fewer near the ends so that it never lags; what is not finite is
    passed over."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    sums = np.append(0, np.cumsum(np.where(finite, values, 0)))
    counts = np.append(0, np.cumsum(finite))
    at = np.arange(len(values))
    reach = np.minimum(half, np.minimum(at, len(values) - 1 - at))
    begin, end = at - reach, at + reach + 1
    count = counts[end] - counts[begin]
    return np.where(count > 0, (sums[end] - sums[begin]) / np.maximum(count, 1), np.nan)
