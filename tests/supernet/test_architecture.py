"""The discrete result: a value, and its JSON."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.errors import NaspError
from nasp.supernet.architecture import FORMAT, Architecture

architectures = st.builds(
    Architecture,
    st.dictionaries(st.text(max_size=8), st.none() | st.text(max_size=5), max_size=5),
    st.none() | st.text(max_size=5),
)


@given(architectures)
def test_json_roundtrip(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert list(again.edges) == list(architecture.edges)
    assert again.to_json() == architecture.to_json()


@given(architectures)
def test_copies_are_equal(architecture: Architecture) -> None:
    for again in (pickle.loads(pickle.dumps(architecture)), copy.deepcopy(architecture)):
        assert again == architecture
        assert hash(again) == hash(architecture)


def test_saved_and_loaded(tmp_path: Path) -> None:
    architecture = Architecture({"normal/0": "skip", "body.2": None, "größe": "conv"}, "darts")
    path = tmp_path / "made" / "architecture.json"
    architecture.save(path)
    assert Architecture.load(path) == architecture
    assert Architecture.load(str(path)) == architecture
    assert json.loads(path.read_text())["format"] == "nasp-architecture/1"


def test_equality_and_hash() -> None:
    one = Architecture({"a": "x", "b": None}, "s")
    same = Architecture({"b": None, "a": "x"}, "s")
    assert one == same
    assert len({one, same}) == 1
    others = [
        Architecture({"a": "x", "b": None}),
        Architecture({"a": "x", "b": "x"}, "s"),
        Architecture({"a": "x"}, "s"),
        Architecture({"a": "x", "c": None}, "s"),
    ]
    assert all(one != other for other in others)
    assert len({one, *others}) == 5
    assert one != {"a": "x", "b": None}


def test_immutable() -> None:
    edges: dict[str, str | None] = {"a": "x"}
    architecture = Architecture(edges)
    edges["a"] = "y"
    assert architecture["a"] == "x"
    with pytest.raises(TypeError):
        architecture.edges["a"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        architecture.space = "other"  # type: ignore[misc]


def test_changes_counts_edges_that_differ() -> None:
    one = Architecture({"a": "x", "b": None, "c": "z"})
    assert one.changes(one) == 0
    assert one.changes(Architecture({"a": "x", "b": "y", "c": "w"})) == 2
    assert one.changes(Architecture({"a": "x", "c": "z", "d": "v"})) == 1


def test_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    expected = rf"Cannot read the architecture file {path}: No such file or directory\."
    with pytest.raises(NaspError, match=expected):
        Architecture.load(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NaspError, match=r"Cannot read the architecture file .*: Is a directory"):
        Architecture.load(tmp_path)


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NaspError, match=r"weights: it is not UTF-8 text\."):
        Architecture.load(path)


@pytest.mark.parametrize("text", ["", "{", "genotype", '{"format": 1,}', "[" * 100_000])
def test_bad_json_names_its_source(text: str, tmp_path: Path) -> None:
    with pytest.raises(NaspError, match=r"^the text is not valid JSON \("):
        Architecture.from_json(text)
    path = tmp_path / "cut.json"
    path.write_text(text)
    with pytest.raises(NaspError, match=r"cut\.json is not valid JSON \("):
        Architecture.load(path)


@pytest.mark.parametrize("content", [[], None, 3, {}, {"format": "nasp-architecture/9"}])
def test_another_format(content: object) -> None:
    with pytest.raises(NaspError, match=f"is not an architecture: its format must be '{FORMAT}'"):
        Architecture.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "content",
    [{}, {"edges": []}, {"edges": {"a": 1}}, {"edges": {"a": ["x"]}}, {"edges": {}, "space": 1}],
)
def test_wrong_content(content: dict[str, object]) -> None:
    with pytest.raises(NaspError, match="my file: 'edges' must map edge names to candidate names"):
        Architecture.from_json(json.dumps({"format": FORMAT, **content}), "my file")
