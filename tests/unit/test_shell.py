"""What the shell's commands share."""

import pytest

from prelabel.shell import dollars


@pytest.mark.parametrize(
    ("amount", "told"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (12.345, "$12.35"),
        (0.3, "$0.30"),
        (0.0999, "$0.100"),
        (0.0123, "$0.012"),
        (0.0000171, "$0.000017"),
    ],
)
def test_small_amounts_are_told_to_two_digits(amount: float | None, told: str) -> None:
    assert dollars(amount) == told
