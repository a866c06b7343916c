"""A graph is drawn from left to right, each asset once, the same whatever the order in which it is given."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise, permutations

from dagster_apollo.projections.asset_graph import Asset, draw

SVG = "{http://www.w3.org/2000/svg}"
SHOP = [
    Asset("raw", "raw", None),
    Asset("seed", "seed", "seeds"),
    Asset("stg", "stg", "staging", ("raw",)),
    Asset("mart", "mart <of all>", "marts", ("stg", "seed", "raw")),
]


def boxes(picture: str) -> dict[str, tuple[int, int, int]]:
    """Left, top and width of each box, by the asset's name."""
    found = {}
    for box in ElementTree.fromstring(picture).iter(f"{SVG}g"):
        title, rectangle = box.find(f"{SVG}title"), box.find(f"{SVG}rect")
        if title is not None and rectangle is not None:
            found[title.text or ""] = (
                int(rectangle.attrib["x"]),
                int(rectangle.attrib["y"]),
                int(rectangle.attrib["width"]),
            )
    return found


def test_the_same_assets_give_the_same_picture() -> None:
    assert len({draw(order, "shop") for order in permutations(SHOP)}) == 1


def test_an_asset_stands_to_the_right_of_all_that_it_is_built_from() -> None:
    places = boxes(draw(SHOP, "shop"))

    assert places.keys() == {"raw", "seed", "stg", "mart"}
    for asset in SHOP:
        for parent in asset.parents:
            left, _, width = places[parent]
            assert left + width < places[asset.name][0]


def test_what_is_built_from_nothing_stands_beside_what_it_leads_to() -> None:
    places = boxes(draw(SHOP, "shop"))

    assert places["seed"][0] == places["stg"][0]


def test_no_two_boxes_lie_on_each_other() -> None:
    wide = [Asset(f"a{number}", f"a{number}", "g", ("root",)) for number in range(20)]
    places = boxes(draw([Asset("root", "root", "g"), *wide], "wide"))

    tops = sorted(top for name, (_, top, _) in places.items() if name != "root")
    assert all(below - above > 26 for above, below in pairwise(tops))


def test_an_edge_that_passes_a_layer_by_is_drawn_around_what_stands_there() -> None:
    picture = draw(SHOP, "shop")

    # One more than the graph has: the edge from raw to mart is bent between them.
    assert len(re.findall("<path", picture)) == 5


def test_groups_are_told_apart_and_named() -> None:
    picture = draw(SHOP, "shop")

    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]
    assert texts[:4] == ["marts", "seeds", "staging", "not built here"]
    assert "mart <of all>" in texts


def test_a_tenant_without_assets_has_an_empty_picture() -> None:
    assert boxes(draw([], "nothing")) == {}
