from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.cluster.api.quantities import amount, canonical, format_quantity, parse_quantity, whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("1", 1), ("+5", 5), ("-5", -5), ("1.5", Fraction(3, 2)), (".5", Fraction(1, 2)), ("5.", 5),
        ("100m", Fraction(1, 10)), ("1u", Fraction(1, 10**6)), ("1n", Fraction(1, 10**9)),
        ("1k", 1000), ("2M", 2 * 10**6), ("1E", 10**18), ("1Ki", 1024), ("1.5Gi", 3 * 2**29), ("1Ei", 2**60),
        ("12e6", 12 * 10**6), ("1E3", 1000), ("5e-1", Fraction(1, 2)), (2, 2), (0.5, Fraction(1, 2)),
        ("0.1n", Fraction(1, 10**9)), ("-0.1n", Fraction(-1, 10**9)),
    ],
)  # fmt: skip
def test_parse(text: str | float, number: Fraction | int) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1GiB", "1K", "Gi", "1ki", "--1", "1.2.3", "0x10", "1e999999999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1024Mi", "1Gi"), ("1000m", "1"), ("0.5", "500m"), ("1500m", "1500m"), ("1000Ki", "1000Ki"), ("0Gi", "0"),
        ("1000000", "1M"), ("1536Mi", "1536Mi"), ("0.5Gi", "512Mi"), ("-1024Ki", "-1Mi"), ("1e3", "1k"), ("1", "1"),
        ("0.5Ki", "512"),
    ],
)  # fmt: skip
def test_canonical_text(text: str, stored: str) -> None:
    assert canonical(text) == stored


@given(st.fractions(min_value=-(10**15), max_value=10**15), st.booleans())
def test_formatting_loses_nothing_down_to_a_nano(value: Fraction, binary: bool) -> None:
    nanos = Fraction(round(value * 10**9), 10**9)
    assert parse_quantity(format_quantity(nanos, binary=binary)) == nanos


def test_whole_rounds_up() -> None:
    assert [whole("1"), whole("1m"), whole("1.5Ki")] == [1, 1, 1536]


def test_an_absent_amount_is_nothing() -> None:
    assert amount(None, "cpu") == 0
    assert amount({"cpu": "250m"}, "cpu") == Fraction(1, 4)
