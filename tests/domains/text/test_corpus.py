"""Texts as numbers: tokens, vocabulary, unknown words, and what is no text."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasp.domains import domain_of
from nasp.domains.text.corpora import load_text
from nasp.domains.text.corpus import corpus_of, read_text
from nasp.errors import UsageError

TEXTS = {"train": "a b  a\n\nb c\n", "valid": "a d\n", "test": "e e c"}


def words(corpus_part: object, vocabulary: tuple[str, ...]) -> str:
    return " ".join(vocabulary[number] for number in corpus_part.tolist())  # type: ignore[attr-defined]


def test_every_line_ends_and_what_train_lacks_is_unknown() -> None:
    corpus = corpus_of("mine", TEXTS, "words")
    assert corpus.vocabulary == ("<eos>", "a", "b", "c", "<unk>")
    read = {part: words(tokens, corpus.vocabulary) for part, tokens in corpus.parts.items()}
    assert read == {
        "train": "a b a <eos> <eos> b c <eos>",
        "valid": "a <unk> <eos>",
        "test": "<unk> <unk> c <eos>",
    }
    assert corpus.unknown == {"train": 0, "valid": 1, "test": 2}
    assert "1 of valid (33.3%), 2 of test (50.0%)" in corpus.described()


def test_a_text_with_its_own_unknown_word_uses_that() -> None:
    texts = {**TEXTS, "train": "a <unk> b\n"}
    corpus = corpus_of("mine", texts, "words")
    assert corpus.vocabulary == ("a", "<unk>", "b", "<eos>")
    assert words(corpus.parts["test"], corpus.vocabulary) == "<unk> <unk> <unk> <eos>"


def test_characters() -> None:
    corpus = corpus_of("mine", {**TEXTS, "valid": "ab\n"}, "char")
    assert words(corpus.parts["valid"], corpus.vocabulary) == "a b <eos>"
    assert " " in corpus.vocabulary


@pytest.mark.parametrize("kind", ["words", "char"])
def test_a_vocabulary_of_one_word(kind: str) -> None:
    with pytest.raises(UsageError, match=r"a vocabulary of one (word|character): there is nothing"):
        corpus_of("mine", {**TEXTS, "train": "a\n" if kind == "char" else "a a\na\n"}, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", TEXTS)
def test_an_empty_part(part: str) -> None:
    with pytest.raises(UsageError, match=f"The {part} text of 'mine' is empty"):
        corpus_of("mine", {**TEXTS, part: " \n"}, "words")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x02\x00\x00", "is a binary file"),
        ("höhe".encode("latin1"), r"is not UTF-8 \(byte 1 cannot be read\): convert it"),
        ("a b".encode("utf-16"), "is UTF-16, not UTF-8: convert it"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_text(path)


def test_marks_and_ends_of_lines_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    assert read_text(path) == "a\nb\n"


def folder(tmp_path: Path, *parts: str) -> Path:
    for part in parts:
        (tmp_path / f"{part}.txt").write_text(TEXTS[part])
    return tmp_path


def test_a_folder(tmp_path: Path) -> None:
    corpus = load_text(f"text:{folder(tmp_path, *TEXTS)}")
    assert corpus.parts["train"].tolist() == corpus_of("x", TEXTS, "words").parts["train"].tolist()


def test_a_folder_that_lacks_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lacks valid\.txt: it must hold train\.txt, valid"):
        load_text(f"text:{folder(tmp_path, 'train', 'test')}")
    with pytest.raises(UsageError, match="There is no folder"):
        load_text(f"text:{tmp_path / 'elsewhere'}")


@pytest.mark.parametrize(("name", "pattern"), [("ptb", "ptb.{}.txt"), ("wikitext-2", "{}.txt")])
def test_known_texts_are_found_or_it_is_said_where_they_are(
    tmp_path: Path, name: str, pattern: str
) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is not in .*: get the archive"):
        load_text(name, tmp_path)
    (tmp_path / name).mkdir()
    for part, text in TEXTS.items():
        (tmp_path / name / pattern.format(part)).write_text(text)
    assert len(load_text(name, tmp_path).parts["train"]) == 8


def test_which_names_are_of_texts() -> None:
    texts = ("pydoc", "ptb", "wikitext-2", "text:here")
    assert [domain_of(name).name for name in texts] == 4 * ["text"]
    images = ("digits", "cifar10", "folder:text")
    assert [domain_of(name).name for name in images] == 3 * ["images"]
    for name in ("moon", "text", "tabular:here"):
        with pytest.raises(
            UsageError, match=f"Unknown data '{name}': choose one of cifar10, .*:DIR"
        ):
            domain_of(name)
    with pytest.raises(UsageError, match="Unknown text 'ptbb'"):
        load_text("ptbb")


def test_the_embedded_text() -> None:
    corpus = load_text("pydoc")
    assert corpus.parts["train"].numel() > 50_000
    assert min(corpus.parts["valid"].numel(), corpus.parts["test"].numel()) > 4_000
    assert 1_000 < len(corpus.vocabulary) < 4_000
    assert {"the", "statement", "<unk>", "<eos>"} <= set(corpus.vocabulary)
    characters = load_text("pydoc", kind="char")
    assert len(characters.vocabulary) < 200
