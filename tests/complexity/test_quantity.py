"""Amounts with units, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.complexity.quantity import QUANTITIES, find_quantity, read_bound
from nasp.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "amount"),
    [
        ("params=3.3M", "parameters", 3.3e6),
        ("parameters=120k", "parameters", 120e3),
        ("parameters=5000", "parameters", 5000),
        ("PARAMS = 1e6", "parameters", 1e6),
        ("flops=600M", "flops", 600e6),
        ("macs=1.2G", "macs", 1.2e9),
        ("latency=5ms", "latency", 5e-3),
        ("latency=800us", "latency", 800e-6),
        ("latency=800µs", "latency", 800e-6),
        ("latency=0.5s", "latency", 0.5),
        ("memory=12MB", "memory", 12e6),
        ("memory=1MiB", "memory", 2**20),
    ],
)
def test_bounds(text: str, name: str, amount: float) -> None:
    found, value = read_bound(text)
    assert found == name
    assert value == pytest.approx(amount)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3.3M", r"A bound is NAME=AMOUNT, such as params=3.3M or latency=5ms, not '3.3M'"),
        ("size=3M", "Unknown cost 'size': choose one of flops, latency, macs, memory, parameters"),
        ("params=many", r"'many' is no amount of parameters: .* \(K, M, G, T or none\)"),
        ("params=0", "'0' is no amount of parameters"),
        ("params=-3M", "'-3M' is no amount"),
        ("params=3MB", "'3MB' is no amount of parameters"),
        ("params=", "'' is no amount"),
        ("latency=5", r"'5' is no amount of latency: .* \(us, ms, s\), such as 5ms"),
        ("latency=5M", "'5M' is no amount of latency"),
        ("memory=12", r"'12' is no amount of activation memory: .*KiB.* such as 3.3MB"),
        ("flops=1e999", "'1e999' is no amount"),
        ("flops=1.2.3M", "'1.2.3M' is no amount"),
    ],
)
def test_bounds_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_bound(text)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("params", 3_312_345, "3.312M"),
        ("params", 17, "17"),
        ("params", 0, "0"),
        ("flops", 6e8, "600M"),
        ("macs", 2.5e9, "2.5G"),
        ("latency", 0.005, "5 ms"),
        ("latency", 2.5, "2.5 s"),
        ("latency", 4.2e-7, "0.42 us"),
        ("memory", 1.5e6, "1.5 MB"),
    ],
)
def test_written(name: str, value: float, text: str) -> None:
    assert find_quantity(name).written(value) == text


@given(st.sampled_from(sorted(QUANTITIES)), st.floats(1e-5, 1e12))
def test_what_is_written_can_be_read(name: str, value: float) -> None:
    quantity = QUANTITIES[name]
    assert quantity.read(quantity.written(value)) == pytest.approx(value, rel=1e-3)
