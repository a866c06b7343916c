"""The results as a picture: each measure as the share of its peer that ours needs, and the waterfall of a small run.

Plain SVG, drawn here: two kinds of bars. The colours follow the reader's light or dark page.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _LEFT, _RIGHT, _ROW = 960, 420, 110, 24
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .h { font-weight: 600; font-size: 15px } .q { fill: #656d76 }
.peer { fill: #d0d7de } .ours { fill: #0969da } .missed { fill: #cf222e } .goal { stroke: #1a7f37; stroke-width: 2 }
.s0 { fill: #54aeff } .s1 { fill: #0969da } .s2 { fill: #bf8700 } .s3 { fill: #8250df } .s4 { fill: #1a7f37 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .q { fill: #8d96a0 } .peer { fill: #3d444d } .ours { fill: #4493f8 } .missed { fill: #f85149 }
}"""
# Stages of a run that are worth a colour: what has happened once it ends there.
_PARTS = (
    ("until it is launched", "launched"),
    ("until the run starts", "run started"),
    ("until dbt has built the first", "first asset"),
    ("until the last", "last asset"),
    ("until success is seen", "success seen"),
)


def draw(results: Mapping[str, Any]) -> str:
    """The picture's text."""
    rows = [entry for entry in results["measures"] if entry["ratio"] is not None]
    body, y = _ratios(rows, 30)
    for detail in results["details"]:
        if detail.get("waterfalls") and detail["project"] == 9:
            parts, y = _waterfall(detail["waterfalls"], y + 40)
            body += parts
    title = "What ours needs of what its peer needs, by measure"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" role="img" aria-label="{title}">'
    return "\n".join([head, f"<title>{title}</title>", f"<style>{_STYLE}</style>", *body, "</svg>", ""])


def _ratios(rows: Sequence[Mapping[str, Any]], y: int) -> tuple[list[str], int]:
    body = [_text(10, y, "Ours as a share of the peer (grey: the peer; green line: the goal; red: not met)", "h")]
    for entry in rows:
        y += _ROW
        full = _WIDTH - _LEFT - _RIGHT
        # A peer that needs less than ours is the shorter bar.
        scale = full / max(1.0, entry["ratio"])
        goal = entry.get("goal")
        missed = goal is not None and not goal["met"]
        body += [
            _text(10, y + 12, f"{entry['title']} ({entry['beside']})"),
            _bar(_LEFT, y, scale, "peer"),
            _bar(_LEFT, y + 4, max(1.0, entry["ratio"] * scale), "missed" if missed else "ours", 8),
            _text(_WIDTH - _RIGHT + 10, y + 12, f"{entry['ratio']:.3g}"),
        ]
        if goal and goal["of"] == "ratio":
            x = _LEFT + goal["at_most"] * scale
            body.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 2}" y2="{y + 18}"/>')
    return body, y + _ROW


def _waterfall(waterfalls: Mapping[str, Sequence[Mapping[str, float]]], y: int) -> tuple[list[str], int]:
    body = [_text(10, y, "From launch to success, nine nodes", "h")]
    x = 10.0
    for number, (label, _) in enumerate(_PARTS):
        body += [f'<rect class="s{number}" x="{x}" y="{y + 12}" width="10" height="10"/>', _text(x + 14, y + 21, label)]
        x += 30 + 7 * len(label)
    y += _ROW
    longest = max(_median(samples, "success seen") for samples in waterfalls.values())
    for side, samples in waterfalls.items():
        y += _ROW
        scale, before = (_WIDTH - _LEFT - _RIGHT) / longest, 0.0
        body.append(_text(10, y + 12, side))
        for number, (_, stage) in enumerate(_PARTS):
            if any(stage not in sample for sample in samples):
                continue
            reached = max(before, _median(samples, stage))
            body.append(_bar(_LEFT + before * scale, y, (reached - before) * scale, f"s{number}"))
            before = reached
        body.append(_text(_WIDTH - _RIGHT + 10, y + 12, f"{before:.2f} s"))
    return body, y + _ROW


def _median(samples: Sequence[Mapping[str, float]], stage: str) -> float:
    return statistics.median(sample[stage] for sample in samples)


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}"{f" class={kind!r}" if kind else ""}>{escape(words)}</text>'


def _bar(x: float, y: float, width: float, kind: str, height: int = 16) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height}" rx="2"/>'
