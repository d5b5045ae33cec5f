"""What a notebook shows: everything there is on one page, whole and with all text escaped."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zv_versioned as zvv

NASTY = "<script>&\"'</b>"
VOID = {"br", "img", "hr"}


class Page(HTMLParser):
    """Collects text and tags, and refuses what is not closed as it was opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def things() -> dict[str, Any]:
    """One of each kind of thing, with names and messages that would spoil a page."""
    repo = zvv.Repository.create("memory://")
    dataset = "<script>&\"'<b>"
    with repo.transaction(message=NASTY, author=NASTY) as tx:
        axes = [{"name": name, "type": "space", "unit": NASTY} for name in ("<x>", "y")]
        tx.create_dataset(
            NASTY.replace("/", ""), kind="graph", bounds=([0] * 2, [9] * 2), axes=axes
        )
        tx.writer(dataset).append_graph_sync(
            np.arange(10.0).reshape(5, 2),
            [[0, 1], [1, 2]],
            object_ids=[1, 1, 1, 2, 3],
            attributes={"<u>&": np.arange(5)},
            object_attributes={"<o>": ["<i>", "b", None]},
        )
    repo.create_branch("side", at="main")
    with repo.transaction("side", message="<i>side") as other:
        other.writer(dataset).append_graph_sync(np.ones((1, 2)), np.zeros((0, 2), int))
    with repo.transaction("main", message="<i>main") as third:
        third.writer(dataset).add_attribute_sync("<w>", np.arange(5))
    merged = repo.merge("side", into="main", message=NASTY)
    view = repo.view()
    level = view[dataset][0]
    return {
        "Repository": repo,
        "View": view,
        "Dataset": view[dataset],
        "Level": level,
        "Geometry": level.read(attributes="all"),
        "Batch": level.batches[0],
        "Objects": level.objects,
        "CommitLog": repo.log(),
        "CommitResult": tx.result,
        "Diff": repo.diff("main~1", "main"),
        "MergeResult": merged,
    }


def test_everything_fits_on_one_page(things: dict[str, Any], tmp_path: Path) -> None:
    html = "<!doctype html><html><meta charset='utf-8'></meta><body>"
    html += "".join(f"<h2>{name}</h2>{thing._repr_html_()}" for name, thing in things.items())
    html += "</body></html>"
    (tmp_path / "all.html").write_text(html, encoding="utf-8")
    page = parsed((tmp_path / "all.html").read_text(encoding="utf-8"))
    assert page.tags <= {
        *(
            "html",
            "meta",
            "body",
            "h2",
            "div",
            "b",
            "code",
            "table",
            "tr",
            "th",
            "td",
            "pre",
            "span",
        )
    }


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Repository", ["main", "side", "memory://"]),
        ("View", ["main", '<script>&"', "graph", "6 vertices"]),
        ("Dataset", ['<script>&"', "axis <x>", NASTY]),
        ("Level", ["attribute '<u>&'", "int64", "attribute '<o>' of objects", "6"]),
        ("Geometry", ["vertices", "attribute '<u>&'"]),
        ("Batch", ["Batch 0", "(0, 1) to (8, 9)", "5"]),
        ("Objects", ["1, 2, 3", "attribute '<o>'", "4"]),
        ("CommitLog", [NASTY, "<i>main"]),
        ("CommitResult", [NASTY, "5"]),
        ("Diff", ["dataset", "1"]),
        ("MergeResult", ["Merge", "main"]),
    ],
)
def test_a_thing_shows_what_it_is(things: dict[str, Any], kind: str, words: list[str]) -> None:
    html = things[kind]._repr_html_()
    page = parsed(html)
    assert [word for word in words if word not in page.text] == []
    assert "<script" not in html
    assert escape("&") * 2 not in html
    assert "object at 0x" not in html + repr(things[kind])


def test_a_long_list_of_objects_is_cut_short() -> None:
    repo = zvv.Repository.create("memory://")
    with repo.transaction() as tx:
        tx.create_dataset("p", kind="point_cloud", bounds=([0], [1]))
        tx.writer("p").append_vertices_sync(np.zeros((2000, 1)))
    page = parsed(repo.view()["p"][0].objects._repr_html_())
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" in page.text
    assert "2,000" in page.text
