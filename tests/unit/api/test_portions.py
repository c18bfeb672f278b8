"""Numbers or percentages, and which way they round."""

from __future__ import annotations

import pytest

from petset.cluster.api.portions import is_zero, portion, validate_portion


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [
        pytest.param(3, 10, 3, 3, id="a-number-is-itself"),
        pytest.param(30, 10, 30, 30, id="also-above-the-total"),
        pytest.param("25%", 10, 3, 2, id="a-part-rounds"),
        pytest.param("50%", 10, 5, 5, id="a-whole-part-does-not"),
        pytest.param("0%", 10, 0, 0, id="nothing"),
        pytest.param("1%", 10, 1, 0, id="less-than-one"),
        pytest.param("150%", 10, 15, 15, id="above-all"),
        pytest.param("25%", 0, 0, 0, id="of-nothing"),
    ],
)
def test_portion(value: int | str, total: int, up: int, down: int) -> None:
    assert (portion(value, total, round_up=True), portion(value, total, round_up=False)) == (up, down)


@pytest.mark.parametrize("text", ["", "%", "5", "-5%", "1.5%", "five"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        portion(text, 10, round_up=True)
    assert "valid percent string" in str(validate_portion("f", text)[0])


@pytest.mark.parametrize(
    ("value", "expected"), [(0, True), ("0%", True), ("00%", True), (1, False), ("1%", False), ("10%", False)]
)
def test_is_zero(value: int | str, expected: bool) -> None:
    assert is_zero(value) == expected


@pytest.mark.parametrize(
    ("value", "at_most_all", "text"),
    [
        pytest.param(None, True, "", id="absent"),
        pytest.param(-1, True, "must be greater than or equal to 0", id="negative"),
        pytest.param("101%", True, "must not be greater than 100%", id="more-than-all"),
        pytest.param("101%", False, "", id="more-than-all-where-that-is-fine"),
        pytest.param(500, True, "", id="a-number-has-no-limit"),
    ],
)
def test_validate_portion(value: int | str | None, at_most_all: bool, text: str) -> None:
    errors = [str(each) for each in validate_portion("spec.f", value, at_most_all=at_most_all)]
    assert bool(errors) == bool(text)
    assert all(error.startswith("spec.f: ") and error.endswith(text) for error in errors)
