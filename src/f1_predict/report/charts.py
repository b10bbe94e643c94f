"""The report's charts as Plotly figures, made from page data.

Drawn in the light colours of PALETTE; the page swaps each for its dark one where the reader's system asks for that.
Knows nothing of HTML and computes nothing but places on an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, sqrt

import plotly.graph_objects as go

from f1_predict.evaluation import ladder
from f1_predict.report.page_data import Bin, LadderRow, PageData, Seasons
from f1_predict.report.score_tables import verdict_word

PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#1b1a22", "#ecebf2"),
    "muted": ("#62606d", "#a3a1b0"),
    "line": ("#dedce4", "#35333f"),
    "ground": ("#fbfafc", "#121116"),
    "surface": ("#ffffff", "#1a1920"),
    "main": ("#7a2bd6", "#bd8cff"),
    "rival": ("#0a6cc7", "#6db6ff"),
    "persistence": ("#3f3d4a", "#c9c7d3"),
    "other": ("#8d8b9a", "#807e8e"),
    "better": ("#0a7443", "#52d990"),
    "worse": ("#a94a00", "#ffb04d"),
    "truth": ("#e0560a", "#ffa733"),
    "heat0": ("#f6f4fa", "#1f1d27"),
    "heat1": ("#dccdf3", "#3c2c60"),
    "heat2": ("#ab7ee3", "#6c42b4"),
    "heat3": ("#6d25bd", "#ab80f2"),
    "heat4": ("#2c0b55", "#f1e8ff"),
}
"""Role -> (light, dark). Light colours differ from each other, so that a chart's can be told apart and swapped.

Purple for the model that the page is about: on a timing screen it is the colour of the fastest.
"""
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
NAMES = {"log_loss": "log-loss", "mae": "mean error in places", "accuracy": "accuracy", "spearman": "Spearman"}
_HEAT_STOPS = (0.0, 0.06, 0.2, 0.5, 1.0)
"""Of the colour scale: a field of twenty gives most places a few per cent, a sure leader nearly all."""


def light(role: str) -> str:
    """The light colour of a role."""
    return PALETTE[role][0]


def plain(text: str) -> str:
    """Text as Plotly shows it: without the few tags that it would read."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def role_of(model: str, page: PageData) -> str:
    """The palette's role of a model on this page."""
    if model == page.main:
        return "main"
    if model == page.rival:
        return "rival"
    return "persistence" if model == ladder.PERSISTENCE else "other"


def figure(traces: Sequence[go.Scatter | go.Heatmap], height: int, **layout: object) -> go.Figure:
    """Traces on a transparent ground in the page's font; `layout` is added or takes precedence."""
    return go.Figure(
        data=list(traces),
        layout={
            "template": None,
            "height": height,
            "margin": {"l": 8, "r": 14, "t": 10, "b": 40},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12, "color": light("ink")},
            "hoverlabel": {"bgcolor": light("surface"), "font": {"family": FONT, "color": light("ink")}},
            "showlegend": False,
            "dragmode": False,
            **layout,
        },
    )


def axis(**options: object) -> dict[str, object]:
    """An axis that is not dragged, its lines in the page's colours; `options` are added or take precedence."""
    return {
        "fixedrange": True,
        "automargin": True,
        "gridcolor": light("line"),
        "linecolor": light("line"),
        "zerolinecolor": light("muted"),
        "tickcolor": light("line"),
        "zeroline": False,
        **options,
    }


def ladder_dots(rows: Sequence[LadderRow], metric: str, span: tuple[float, float], page: PageData) -> go.Figure:
    """One fraction's models as dots with 95 % intervals, the first rung on top."""
    names = [row.model for row in rows]
    values = [row.scores[metric] for row in rows]
    ends = [row.intervals.get(metric, (value, value)) for row, value in zip(rows, values, strict=True)]
    colours = [light(role_of(name, page)) for name in names]
    traces = [
        go.Scatter(
            x=[low, high],
            y=[plain(name)] * 2,
            mode="lines",
            line={"color": colour, "width": 2.5},
            hoverinfo="skip",
        )
        for name, (low, high), colour in zip(names, ends, colours, strict=True)
    ]
    dots = go.Scatter(
        x=values,
        y=[plain(name) for name in names],
        mode="markers",
        marker={"color": colours, "size": 10, "line": {"color": light("surface"), "width": 1.5}},
        customdata=[list(end) for end in ends],
        hovertemplate="%{y}: %{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
    )
    return figure(
        [*traces, dots],
        52 + 25 * len(names),
        yaxis=axis(autorange="reversed", type="category", showgrid=True),
        xaxis=axis(range=list(span), title={"text": NAMES[metric], "standoff": 6}, nticks=5),
    )


def paired_dots(page: PageData, metric: str) -> go.Figure:
    """The page's model against its rival on the same races: improvement with its interval at every moment."""
    found = [
        (short(fraction), change)
        for fraction in page.ladder
        if (change := page.changes.get((page.main, page.rival or "", fraction, metric))) is not None
    ]
    colours = {"better": light("better"), "worse": light("worse"), "not told apart": light("muted")}
    traces = [
        go.Scatter(
            x=[change.low, change.high],
            y=[name] * 2,
            mode="lines",
            line={"color": colours[verdict_word(change)], "width": 2.5},
            hoverinfo="skip",
        )
        for name, change in found
    ]
    dots = go.Scatter(
        x=[change.improvement for _, change in found],
        y=[name for name, _ in found],
        mode="markers",
        marker={
            "color": [colours[verdict_word(change)] for _, change in found],
            "size": 10,
            "line": {"color": light("surface"), "width": 1.5},
        },
        customdata=[[change.low, change.high] for _, change in found],
        hovertemplate="%{y}: %{x:+.1f} % [%{customdata[0]:+.1f}, %{customdata[1]:+.1f}]<extra></extra>",
    )
    ends = [end for _, change in found for end in (change.low, change.high, 0.0) if isfinite(end)]
    room = 0.06 * ((max(ends) - min(ends)) or 1.0)
    line = {"color": light("muted"), "width": 1.5, "dash": "dot"}
    zero = {"type": "line", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "line": line, "layer": "below"}
    return figure(
        [*traces, dots],
        52 + 25 * max(len(rows) for rows in page.ladder.values()),
        shapes=[zero],
        yaxis=axis(autorange="reversed", type="category"),
        xaxis=axis(
            title={"text": f"better in {NAMES[metric]} by, %", "standoff": 6},
            range=[min(ends) - room, max(ends) + room],
            nticks=6,
        ),
    )


def short(fraction: float) -> str:
    """A fraction of the race on an axis."""
    return f"{fraction:.0%}" if fraction > 0 else "start"


_ORDER = ("other", "persistence", "rival", "main")
"""Of drawing: what counts lies on top."""
_DASHES = ("solid", "dash", "dot", "dashdot")


def _styles(names: Sequence[str], page: PageData) -> dict[str, dict[str, object]]:
    """Line styles by model in the order of drawing; those of no role differ by dash."""
    made: dict[str, dict[str, object]] = {}
    others = 0
    for name in sorted(names, key=lambda name: _ORDER.index(role_of(name, page))):
        role = role_of(name, page)
        width = 3.0 if role in ("main", "rival") else 1.7
        made[name] = {"color": light(role), "width": width, "dash": "solid" if role != "other" else _DASHES[others % 4]}
        others += role == "other"
    return made


_DODGE = {"main": -0.35, "rival": 0.35}
"""Per cent of the race by which lines are set apart, so that intervals do not cover each other."""


def skill_lines(page: PageData, models: Sequence[str]) -> go.Figure:
    """Improvement on persistence over the fraction of the race, a line a model, with intervals."""
    traces = []
    for name, style in _styles(
        [name for name in dict.fromkeys(i.model for i in page.skill) if name in models], page
    ).items():
        points = [item for item in page.skill if item.model == name and isfinite(item.change.improvement)]
        role = role_of(name, page)
        values = [item.change.improvement for item in points]
        traces.append(
            go.Scatter(
                x=[100 * item.fraction + _DODGE.get(role, 0.0) for item in points],
                y=values,
                name=plain(name),
                mode="lines+markers",
                line=style,
                marker={"size": 8 if role in _DODGE else 5},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [item.change.high - value for item, value in zip(points, values, strict=True)],
                    "arrayminus": [value - item.change.low for item, value in zip(points, values, strict=True)],
                    "thickness": 1.5 if role in _DODGE else 1.0,
                    "width": 4 if role in _DODGE else 0,
                },
                customdata=[[item.change.low, item.change.high, item.rival] for item in points],
                hovertemplate=f"{plain(name)}: %{{y:+.1f}} % [%{{customdata[0]:+.1f}}, %{{customdata[1]:+.1f}}] "
                "against %{customdata[2]}<extra></extra>",
            )
        )
    ticks = list(page.ladder)
    return figure(
        traces,
        400,
        showlegend=True,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "traceorder": "reversed"},
        hovermode="closest",
        shapes=[_level(0.0)],
        xaxis=axis(
            title={"text": "share of the race run"},
            tickvals=[100 * tick for tick in ticks],
            ticktext=[short(tick) for tick in ticks],
            range=[100 * ticks[0] - 4, 100 * ticks[-1] + 4],
        ),
        yaxis=axis(title={"text": "log-loss better by, %"}, ticksuffix=" "),
    )


def _level(value: float) -> dict[str, object]:
    line = {"color": light("muted"), "width": 1.5, "dash": "dot"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line, "layer": "below"}


def wilson(happened: float, rows: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share, as if rows were independent.

    E. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    z = 1.96
    centre = (happened + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * sqrt(happened * (1 - happened) / rows + z * z / (4 * rows * rows))
    return max(0.0, centre - half), min(1.0, centre + half)


def reliability_curve(bins: Sequence[Bin], role: str) -> go.Figure:
    """Share that happened against the probability given, a dot a bin; on the diagonal they are equal."""
    ends = [wilson(item.frequency, item.rows) for item in bins]
    diagonal = go.Scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": light("muted"), "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    curve = go.Scatter(
        x=[100 * item.mean_probability for item in bins],
        y=[100 * item.frequency for item in bins],
        mode="lines+markers",
        line={"color": light(role), "width": 1.5},
        marker={"size": 8, "line": {"color": light("surface"), "width": 1}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * max(0.0, high - item.frequency) for item, (_, high) in zip(bins, ends, strict=True)],
            "arrayminus": [100 * max(0.0, item.frequency - low) for item, (low, _) in zip(bins, ends, strict=True)],
            "thickness": 1,
            "width": 0,
        },
        customdata=[item.rows for item in bins],
        hovertemplate="said %{x:.1f} %, happened %{y:.1f} % of %{customdata} rows<extra></extra>",
    )
    percent = {"range": [-3, 103], "tickvals": [0, 25, 50, 75, 100]}
    return figure(
        [diagonal, curve],
        262,
        xaxis=axis(title={"text": "probability given, %", "standoff": 6}, **percent),
        yaxis=axis(title={"text": "happened, %", "standoff": 6}, **percent),
    )


def season_lines(seasons: Seasons, page: PageData) -> go.Figure:
    """Log-loss by season, a line a model."""
    traces = []
    # Without `uniform`: far off, and it says nothing of a season but how many cars there were.
    for name, style in _styles([name for name in seasons.scores if name != "uniform"], page).items():
        scores = seasons.scores[name]
        traces.append(
            go.Scatter(
                x=list(scores),
                y=[value for value, _ in scores.values()],
                name=plain(name),
                mode="lines+markers",
                line=style,
                marker={"size": 8 if role_of(name, page) in _DODGE else 5},
                customdata=[races for _, races in scores.values()],
                hovertemplate=f"{plain(name)}, %{{x}}: %{{y:.3f}} (%{{customdata}} races)<extra></extra>",
            )
        )
    years = sorted({season for scores in seasons.scores.values() for season in scores})
    step = max(1, -(-len(years) // 10))
    return figure(
        traces,
        400,
        showlegend=True,
        legend={"orientation": "h", "y": -0.16, "yanchor": "top", "x": 0, "traceorder": "reversed"},
        xaxis=axis(tickvals=years[::step], tickformat="d", range=[years[0] - 0.5, years[-1] + 0.5]),
        yaxis=axis(title={"text": "log-loss (less is better)"}),
    )


def heat_map() -> go.Figure:
    """Drivers x places without a race yet: the page fills in the one that is chosen."""
    heat = go.Heatmap(
        x=[],
        y=[],
        z=[],
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        colorscale=[[stop, light(f"heat{i}")] for i, stop in enumerate(_HEAT_STOPS)],
        colorbar={"thickness": 10, "len": 0.6, "tickformat": ".0%", "outlinewidth": 0, "x": 1.01},
        hovertemplate="%{y}, place %{x}: %{z:.1%}<extra></extra>",
    )
    halo, truth = (
        go.Scatter(
            x=[],
            y=[],
            mode="markers",
            marker={"symbol": "circle-open", "size": 13, "color": light(role), "line": {"width": width}},
            hoverinfo=info,
            hovertemplate="%{y} finished %{x}<extra></extra>" if info is None else None,
        )
        for role, width, info in (("surface", 6, "skip"), ("truth", 2.5, None))
    )
    return figure(
        [heat, halo, truth],
        560,
        xaxis=axis(title={"text": "place", "standoff": 6}, tick0=1, dtick=1, showgrid=False, showline=False),
        yaxis=axis(type="category", showgrid=False, showline=False),
    )


def span_of(ladder_rows: Mapping[float, Sequence[LadderRow]], metric: str) -> tuple[float, float]:
    """One horizontal range for all fractions, so that they compare; `uniform` may lie outside with its line."""
    ends = [
        end
        for rows in ladder_rows.values()
        for row in rows
        for end in (*row.intervals.get(metric, ()), row.scores[metric])
        if isfinite(end)
    ]
    if not ends:
        return 0.0, 1.0
    room = 0.06 * ((max(ends) - min(ends)) or 1.0)
    return min(ends) - room, max(ends) + room
