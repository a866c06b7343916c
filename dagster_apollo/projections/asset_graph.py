"""A picture of assets and what they are built from, as SVG text: layers from left to right, groups as colours.

Pure: the same assets give the same text, whatever their order, so that a test can hold a committed picture to its
source. The layout is Sugiyama's, in its plainest form: longest-path layers, edges over several layers bent around what
lies between, crossings reduced by barycentres (https://doi.org/10.1109/TSMC.1981.4308636).
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_HEIGHT, _GAP, _BEND_HEIGHT = 26, 12, 6
_BETWEEN_LAYERS, _MARGIN, _LEGEND_HEIGHT = 56, 16, 34
_CHARACTER_WIDTH, _PADDING = 7.3, 22
_SWEEPS = 12
# Fill and line of a group; they begin again where there are more groups.
_COLOURS = (
    ("#dbeafe", "#2563eb"),
    ("#dcfce7", "#16a34a"),
    ("#fef3c7", "#d97706"),
    ("#fce7f3", "#db2777"),
    ("#ede9fe", "#7c3aed"),
    ("#cffafe", "#0891b2"),
    ("#fee2e2", "#dc2626"),
    ("#ecfccb", "#65a30d"),
)
_OUTSIDE = ("#f8fafc", "#94a3b8")


@dataclass(frozen=True)
class Asset:
    """One box.

    Attributes:
        name: what tells it from the others.
        label: what stands in it.
        group: what it belongs to; None: not built here, such as a source.
        parents: the names of what it is built from.
    """

    name: str
    label: str
    group: str | None
    parents: tuple[str, ...] = ()


@dataclass
class _Place:
    """A box, or a bend of an edge, on its way to a position."""

    name: str
    layer: int
    asset: Asset | None
    before: list[_Place] = field(default_factory=list, repr=False)
    after: list[_Place] = field(default_factory=list, repr=False)
    rank: float = 0
    middle: float = 0

    @property
    def height(self) -> int:
        return _HEIGHT if self.asset else _BEND_HEIGHT


def draw(assets: Iterable[Asset], title: str) -> str:
    """The picture, as the text of an SVG file.

    Args:
        assets: the boxes, whose parents are among them.
        title: what a screen reader says.
    """
    known = {asset.name: asset for asset in sorted(assets, key=lambda asset: asset.name)}
    layers = _layers(_places(known))
    _reduce_crossings(layers)
    _position(layers)
    groups = sorted({asset.group for asset in known.values() if asset.group is not None})
    colours = {group: _COLOURS[number % len(_COLOURS)] for number, group in enumerate(groups)}
    return _svg(layers, colours, title, any(asset.group is None for asset in known.values()))


def _places(assets: Mapping[str, Asset]) -> list[_Place]:
    order = list(
        graphlib.TopologicalSorter({name: sorted(asset.parents) for name, asset in assets.items()}).static_order()
    )
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[parent] for parent in assets[name].parents), default=-1)
    children: dict[str, list[str]] = {name: [] for name in assets}
    for name, asset in assets.items():
        for parent in asset.parents:
            children[parent].append(name)
    for name in reversed(order):  # what nothing leads to stands beside what it leads to
        if not assets[name].parents and children[name]:
            depth[name] = min(depth[child] for child in children[name]) - 1
    places = {name: _Place(name, depth[name], asset) for name, asset in assets.items()}
    bends: list[_Place] = []
    for name, asset in assets.items():
        for parent in sorted(asset.parents):
            last = places[parent]
            for layer in range(depth[parent] + 1, depth[name]):
                bend = _Place(f"{parent} → {name}", layer, None)
                _join(last, bend)
                bends.append(bend)
                last = bend
            _join(last, places[name])
    return [*places.values(), *bends]


def _join(one: _Place, other: _Place) -> None:
    one.after.append(other)
    other.before.append(one)


def _layers(places: Iterable[_Place]) -> list[list[_Place]]:
    layers: dict[int, list[_Place]] = {}
    for place in sorted(places, key=lambda place: ((place.asset and place.asset.group) or "", place.name)):
        layers.setdefault(place.layer, []).append(place)
    return [layers[number] for number in sorted(layers)]


def _reduce_crossings(layers: Sequence[list[_Place]]) -> None:
    for layer in layers:
        _number(layer)
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else reversed(layers):
            means = {id(place): _mean(place.before if downwards else place.after, place.rank) for place in layer}
            layer.sort(key=lambda place: (means[id(place)], place.rank))
            _number(layer)
        if (crossings := _crossings(layers)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, order in zip(layers, best, strict=True):
        layer[:] = order
        _number(layer)


def _number(layer: Sequence[_Place]) -> None:
    for rank, place in enumerate(layer):
        place.rank = rank


def _mean(neighbours: Sequence[_Place], otherwise: float) -> float:
    return sum(place.rank for place in neighbours) / len(neighbours) if neighbours else otherwise


def _crossings(layers: Sequence[Sequence[_Place]]) -> int:
    count = 0
    for layer in layers:
        edges = [(place.rank, other.rank) for place in layer for other in place.after]
        count += sum(
            (one[0] - other[0]) * (one[1] - other[1]) < 0
            for number, one in enumerate(edges)
            for other in edges[number + 1 :]
        )
    return count


def _position(layers: Sequence[Sequence[_Place]]) -> None:
    """Each as near to the middle of its neighbours as the others of its layer let it."""
    for layer in layers:
        top = -sum(place.height + _GAP for place in layer) / 2
        for place in layer:
            place.middle = top + place.height / 2
            top += place.height + _GAP
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_wanted(place) for place in layer]
            for lowest, highest, number in zip(
                _pushed_down(layer, wanted), _pushed_up(layer, wanted), range(len(layer)), strict=True
            ):
                layer[number].middle = (lowest + highest) / 2


def _wanted(place: _Place) -> float:
    neighbours = [*place.before, *place.after]
    return sum(other.middle for other in neighbours) / len(neighbours) if neighbours else place.middle


def _pushed_down(layer: Sequence[_Place], wanted: Sequence[float]) -> list[float]:
    middles: list[float] = []
    for number, place in enumerate(layer):
        free = middles[-1] + (layer[number - 1].height + place.height) / 2 + _GAP if middles else wanted[number]
        middles.append(max(wanted[number], free))
    return middles


def _pushed_up(layer: Sequence[_Place], wanted: Sequence[float]) -> list[float]:
    mirrored = _pushed_down(layer[::-1], [-middle for middle in reversed(wanted)])
    return [-middle for middle in reversed(mirrored)]


def _svg(layers: Sequence[Sequence[_Place]], colours: Mapping[str, tuple[str, str]], title: str, sources: bool) -> str:
    widths = [max((_width(place.asset.label) for place in layer if place.asset), default=0) for layer in layers]
    lefts = [_MARGIN + sum(widths[:number]) + _BETWEEN_LAYERS * number for number in range(len(widths))]
    top = min((place.middle - place.height / 2 for layer in layers for place in layer), default=0)
    bottom = max((place.middle + place.height / 2 for layer in layers for place in layer), default=0)
    down = _MARGIN + _LEGEND_HEIGHT - top
    boxes, edges = [], []
    for number, layer in enumerate(layers):
        for place in layer:
            if place.asset:
                boxes.append(_box(place.asset, colours, lefts[number], place.middle + down, widths[number]))
            for other in place.after:
                start = (lefts[number] + widths[number], place.middle + down)
                end = (lefts[number + 1], other.middle + down)
                through = None if place.asset else lefts[number]
                edges.append(_edge(start, end, through))
    legend, legend_width = _legend(colours, sources)
    width = max((lefts[-1] + widths[-1] if lefts else 0) + _MARGIN, legend_width)
    height = bottom - top + _LEGEND_HEIGHT + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *legend,
        '<g fill="none" stroke="#94a3b8" stroke-width="1.2">',
        *sorted(edges),
        "</g>",
        *sorted(boxes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _width(label: str) -> int:
    return round(len(label) * _CHARACTER_WIDTH + _PADDING)


def _box(asset: Asset, colours: Mapping[str, tuple[str, str]], left: float, middle: float, width: float) -> str:
    fill, line = _OUTSIDE if asset.group is None else colours[asset.group]
    dashed = ' stroke-dasharray="4 3"' if asset.group is None else ""
    return (
        f'<g><title>{escape(asset.name)}</title><rect x="{left:.0f}" y="{middle - _HEIGHT / 2:.0f}" width="{width:.0f}"'
        f' height="{_HEIGHT}" rx="6" fill="{fill}" stroke="{line}"{dashed}/><text x="{left + width / 2:.0f}"'
        f' y="{middle + 4:.0f}" text-anchor="middle">{escape(asset.label)}</text></g>'
    )


def _edge(start: tuple[float, float], end: tuple[float, float], through: float | None) -> str:
    """From the right of one to the left of the next; where it passes a layer by, also across that one."""
    across = (
        f"M{through:.0f} {start[1]:.0f}H{start[0]:.0f}" if through is not None else f"M{start[0]:.0f} {start[1]:.0f}"
    )
    bent = (start[0] + end[0]) / 2
    curve = f"C{bent:.0f} {start[1]:.0f} {bent:.0f} {end[1]:.0f} {end[0]:.0f} {end[1]:.0f}"
    return f'<path d="{across}{curve}"/>'


def _legend(colours: Mapping[str, tuple[str, str]], sources: bool) -> tuple[list[str], float]:
    lines, left = [], float(_MARGIN)
    for name, (fill, line) in [*colours.items(), *([("not built here", _OUTSIDE)] if sources else [])]:
        lines.append(
            f'<rect x="{left:.0f}" y="{_MARGIN}" width="12" height="12" rx="3" fill="{fill}" stroke="{line}"/>'
            f'<text x="{left + 18:.0f}" y="{_MARGIN + 10}">{escape(name)}</text>'
        )
        left += 18 + _width(name)
    return lines, left
