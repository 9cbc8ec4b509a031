"""Source in the formatters' form: one line where it fits, else an item a line."""

from __future__ import annotations

import pytest

from nasp.exporters.source.layout import WIDTH, call, docstring, laid_out


def test_what_fits_is_one_line() -> None:
    code = "x = " + call("f", ["1", call("g", ["key=2"])])
    assert list(laid_out(code, 1)) == ["    x = f(1, g(key=2))"]


@pytest.mark.parametrize("spare", [0, 1])
def test_the_limit_is_the_width_itself(spare: int) -> None:
    name = "n" * (WIDTH - len("f(, 1)") + spare)
    lines = list(laid_out(call("f", [name, "1"]), 0))
    assert lines == ([f"f({name}, 1)"] if spare == 0 else ["f(", f"    {name},", "    1,", ")"])


def test_brackets_break_from_outside_in() -> None:
    inner = call("inner", ["a" * 40, "b" * 40])
    code = call("outer", ["1", inner]) + "[0]"
    assert list(laid_out(code, 0)) == [
        "outer(",
        "    1,",
        "    inner(",
        f"        {'a' * 40},",
        f"        {'b' * 40},",
        "    ),",
        ")[0]",
    ]


def test_what_has_no_bracket_is_never_broken() -> None:
    assert list(laid_out("a" * 200, 0)) == ["a" * 200]
    assert list(laid_out("f" * 200 + "()", 0)) == ["f" * 200 + "()"]
    assert list(laid_out("x = '(, " + "a" * 200 + ")'", 0)) == ["x = '(, " + "a" * 200 + ")'"]


def test_the_widest_bracket_is_broken() -> None:
    code = f"def forward(self, {'x' * 80}: Tensor) -> tuple[Tensor, Tensor]:"
    assert list(laid_out(code, 0)) == [
        "def forward(",
        "    self,",
        f"    {'x' * 80}: Tensor,",
        ") -> tuple[Tensor, Tensor]:",
    ]


def test_docstrings() -> None:
    assert list(docstring(["One."], 1)) == ['    """One."""']
    assert list(docstring(["One.", "Two.", "    code"], 0)) == [
        '"""One.', "", "Two.", "", "    code", '"""',
    ]  # fmt: skip
    long = list(docstring(["word " * 30 + "end."], 1))
    assert long[0] == '    """Compute the output.'
    assert all(len(line) <= WIDTH for line in long)
    assert " ".join(" ".join(long[2:-1]).split()) == "word " * 30 + "end."


def test_a_comprehension_that_fits_in_no_line_becomes_its_items() -> None:
    code = "*[Residual(MBConv(16, 96, 16, 5)) for _ in range(3)],"
    assert list(laid_out(code, 2)) == [f"        {code}"]
    assert list(laid_out(code, 10)) == [f"{'    ' * 10}Residual(MBConv(16, 96, 16, 5)),"] * 3
