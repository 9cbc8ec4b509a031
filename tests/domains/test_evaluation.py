"""The arithmetic of an evaluation, on examples that can be counted by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from nasp.domains.evaluation import SHOWN_MISTAKES, Evaluation, classified
from nasp.report.evaluation import draw_confusion, draw_mistakes


def evaluation(names: tuple[str, ...] = ("a", "b", "c", "d")) -> Evaluation:
    """Two of class a, one taken for c; three of b, all right; one of c, taken for a; none of d."""
    shares = torch.tensor(
        [[7, 1, 1, 1], [1, 1, 6, 2], [1, 7, 1, 1], [0, 8, 1, 1], [3, 5, 1, 1], [9, 0, 1, 0]]
    )
    logits = (shares / 10 + 1e-9).log()
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    files = [f"{i}.png" for i in range(6)]
    return classified(
        "x", logits, labels, names, files, lambda i: torch.full((1, 2, 2), i, dtype=torch.uint8)
    )


def test_figures_by_hand() -> None:
    found = evaluation()
    assert found.confusion.tolist() == [[1, 0, 1, 0], [0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    loss = -sum(map(math.log, (0.7, 0.1, 0.7, 0.8, 0.5, 0.1))) / 6
    expected = {"accuracy": 4 / 6, "balanced_accuracy": (0.5 + 1 + 0) / 3, "loss": loss}
    assert found.figures == pytest.approx(expected, rel=1e-5)
    rows = [tuple(row.values()) for row in found.by_class()]
    assert rows == [("a", 0.5, 0.5, 2), ("b", 1, 1, 3), ("c", 0, 0, 1), ("d", None, None, 0)]


def test_the_surest_mistakes_come_first() -> None:
    mistakes = evaluation().mistakes
    assert [each[:3] for each in map(tuple_of, mistakes)] == [
        ("5.png", "c", "a"),
        ("1.png", "a", "c"),
    ]
    assert [each.probability for each in mistakes] == pytest.approx([0.9, 0.6])
    assert [int(each.picture[0, 0, 0]) for each in mistakes] == [5, 1]
    many = classified(
        "x",
        torch.randn(99, 7),
        torch.zeros(99).long(),
        "abcdefg",
        ["x"] * 99,
        lambda i: torch.ones(1),
    )
    assert len(many.mistakes) == SHOWN_MISTAKES
    assert {"top5", "accuracy"} <= many.figures.keys()


def tuple_of(mistake: object) -> tuple[object, ...]:
    return tuple(vars(mistake).values())


def test_it_is_plain_values() -> None:
    said = json.loads(json.dumps(evaluation().as_dict()))
    assert said["mistakes"][0]["example"] == "5.png"
    assert said["confusion"][0] == [1, 0, 1, 0]
    assert Evaluation("text", {"perplexity": 2.0}).as_dict() == {
        "on": "text",
        "figures": {"perplexity": 2.0},
    }


@pytest.mark.parametrize("count", [4, 61])
def test_pictures_are_drawn_whatever_classes_are_called(count: int, tmp_path: Path) -> None:
    names = tuple(f"$cl_ass {i} ^ \\frac ä" for i in range(count))
    labels = torch.arange(count)
    found = classified(
        "folder:$x_", torch.eye(count).roll(1, 0), labels, names, [""] * count, lambda _: PICTURE
    )
    for draw in (draw_confusion, draw_mistakes)[: 1 + (count == 4)]:
        draw(found, tmp_path / "picture.png")
        assert min(Image.open(tmp_path / "picture.png").size) > 200


def test_without_a_mistake_the_sheet_is_empty(tmp_path: Path) -> None:
    found = classified("x", torch.eye(2), torch.arange(2), "ab", "xy", lambda _: PICTURE)
    assert not found.mistakes
    draw_mistakes(found, tmp_path / "mistakes.png")
    assert (tmp_path / "mistakes.png").is_file()


PICTURE = torch.zeros(3, 4, 4, dtype=torch.uint8)
