"""What the shell's commands share."""

import pytest
from click.testing import CliRunner

from prelabel.cli_runs import run
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


@pytest.mark.parametrize("amount", ["nan", "inf", "0", "-1"])
def test_a_run_may_cost_a_number_of_dollars_above_0(amount: str) -> None:
    done = CliRunner().invoke(run, ["--project", "7", "--max-cost", amount])

    assert (done.exit_code, "Invalid value for '--max-cost'" in done.output) == (2, True)
