"""Plots as SVG: bars on a logarithmic axis, and lines. Plain shapes and text, so that a diff of a plot can be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

COLORS: Final = ("#b03a2e", "#e08214", "#1f6f54", "#5e3c99", "#7f8c8d", "#2c3e50", "#8c510a")

_FONT: Final = 'font-family="sans-serif" font-size="11"'
_ROW: Final = 9
_GAP: Final = 7
_LEFT: Final = 290
_WIDTH: Final = 900
_TOP: Final = 56


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars: one group a line, one bar for each of its values, on a logarithmic axis."""
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    low, high = _decades([value for values in groups.values() for value in values.values()])
    height = _TOP + sum(len(values) * _ROW + _GAP for values in groups.values()) + 20
    parts = [_open(height, title), _legend(names)]

    def place(value: float) -> float:
        return _LEFT + (math.log10(value) - low) / (high - low) * (_WIDTH - _LEFT - 60)

    for power in range(low, high + 1):
        x = place(10.0**power)
        parts.append(f'<line x1="{x:.0f}" y1="{_TOP - 6}" x2="{x:.0f}" y2="{height - 16}" stroke="#ddd"/>')
        parts.append(_text(x, height - 4, f"{10.0**power:g} {unit}", "middle"))
    y = _TOP
    for group, values in groups.items():
        parts.append(_text(_LEFT - 6, y + len(values) * _ROW / 2 + 4, group, "end"))
        for name, value in values.items():
            color = COLORS[names.index(name) % len(COLORS)]
            width = max(1.0, place(value) - _LEFT)
            parts.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" fill="{color}">'
                f"<title>{escape(group)}, {escape(name)}: {value:.0f} {unit}</title></rect>"
            )
            y += _ROW
        y += _GAP
    return "\n".join([*parts, "</svg>", ""])


def lines(title: str, unit: str, ticks: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """One line for each of `series` over the same ticks, on a logarithmic axis."""
    low, high = _decades([value for values in series.values() for value in values])
    height, bottom, left = 340, 300, 70
    step = (_WIDTH - left - 60) / max(1, len(ticks) - 1)
    parts = [_open(height, title), _legend(list(series))]

    def place(value: float) -> float:
        return bottom - (math.log10(value) - low) / (high - low) * (bottom - _TOP)

    for power in range(low, high + 1):
        y = place(10.0**power)
        parts.append(f'<line x1="{left}" y1="{y:.0f}" x2="{_WIDTH - 60}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(_text(left - 6, y + 4, f"{10.0**power:g} {unit}", "end"))
    for number, tick in enumerate(ticks):
        parts.append(_text(left + number * step, bottom + 18, tick, "middle"))
    for number, values in enumerate(series.values()):
        color = COLORS[number % len(COLORS)]
        points = " ".join(f"{left + at * step:.1f},{place(value):.1f}" for at, value in enumerate(values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _open(height: float, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" {_FONT}>\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="10" y="18" font-size="14" font-weight="bold">{escape(title)}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    parts, x = [], 10.0
    for number, name in enumerate(names):
        parts.append(
            f'<rect x="{x:.0f}" y="28" width="10" height="10" fill="{COLORS[number % len(COLORS)]}"/>'
        )
        parts.append(_text(x + 14, 37, name, "start"))
        x += 30 + 6.5 * len(name)
    return "\n".join(parts)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(words)}</text>'
