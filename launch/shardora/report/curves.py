"""Lines over a run, in plotly's form. Each has its x three times, by steps, by tokens and by hours of training, and the
page shows the one that the reader chooses."""

import numpy as np

from shardora.report import summary

COLOURS = ("#3d7eff", "#f0883a", "#2ba471", "#a56be0", "#e5484d", "#12a5b5", "#d6599b", "#8a8f98")
_MOST_MARKERS = 60  # more would hide their line
MOST_POINTS = 2000


def kept(values, most=MOST_POINTS):
    """Indices, rising, of at most `most` of the values: the range is cut into equal pieces, and of each piece its lowest
    and its highest are kept, so that no spike is lost. First and last always stay. One that is not finite counts as the
    highest of its piece, so that a gap stays a gap."""
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


def colour(index):
    return COLOURS[index % len(COLOURS)]


class Axes:
    """From steps to tokens and hours: sums over the step lines, with straight lines between them."""

    def __init__(self, run):
        self.steps = run.step
        counts = np.nan_to_num(run.columns.get("tokens", np.zeros(len(run.step))))
        self.tokens = np.cumsum(counts * np.diff(run.step, prepend=0))
        self.hours = np.cumsum(summary.training_seconds(run)) / 3600

    def at(self, steps):
        def others(values):
            found = np.interp(steps, np.append(0, self.steps), np.append(0, values))
            return [float(f"{value:.7g}") for value in found]

        return {"steps": [int(step) for step in steps], "tokens": others(self.tokens), "hours": others(self.hours)}


def numbers(values):
    """For JSON: the very doubles of the file; None where there is none."""
    return [float(value) if np.isfinite(value) else None for value in values]


def line(name, axes, steps, values, chosen=None, **style):
    """At most 2,000 of the points, or those chosen."""
    chosen = kept(values) if chosen is None else chosen
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "xs": axes.at(np.asarray(steps)[chosen]),
        "y": numbers(np.asarray(values)[chosen]),
        **style,
    }


def smoothed(values):
    """Over a fiftieth of the run to either side."""
    return smooth(values, max(1, len(values) // 50))


def raw_and_smooth(name, axes, steps, values, tint, group=None):
    """The values themselves, pale, under their moving average."""
    if len(values) < 20:
        return [line(name, axes, steps, values, mode="lines+markers", line={"color": tint})]
    pale = line(f"{name}, each step", axes, steps, values, line={"color": tint, "width": 1}, opacity=0.45)
    bold = line(f"{name}, smoothed", axes, steps, smoothed(values), line={"color": tint, "width": 2.2})
    if group:
        pale |= {"legendgroup": group, "showlegend": False}
        bold |= {"legendgroup": group, "name": name}
    return [pale, bold]


def logarithmic(traces):
    """An axis for what the traces show: plotly's own choice of ticks is crowded, but where they span little."""
    shown = [value for trace in traces for value in trace["y"] if value is not None and value > 0]
    span = max(shown) / min(shown) if shown else 1
    ticks = {} if span < 4 else {"dtick": "D2" if span < 500 else 1}
    return {"type": "log", "tickformat": "~g", **ticks}


def evaluation(name, axes, one, tint, **style):
    mode = "lines+markers" if len(one.step) <= _MOST_MARKERS else "lines"
    return line(
        name,
        axes,
        one.step,
        one.loss,
        mode=mode,
        line={"color": tint, "width": 2},
        marker={"color": tint, "size": 8, "line": {"width": 1.5, "color": "rgba(255,255,255,0.9)"}},
        **style,
    )
