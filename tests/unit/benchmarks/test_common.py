"""How a benchmark ends."""

import pytest

from benchmarks.common import in_a_sentence
from latency.errors import MachineTooNoisy
from supernet.errors import InputError


@pytest.mark.parametrize("error", [InputError("--work there: take another"), MachineTooNoisy("the machine is slow")])
def test_what_a_benchmark_cannot_go_on_from_is_said_without_a_traceback(error, capsys):
    def main():
        raise error

    assert in_a_sentence(main) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_benchmark_that_ends_well_says_nothing_more_and_its_faults_are_not_hidden(capsys):
    assert in_a_sentence(lambda: None) == 0
    with pytest.raises(ZeroDivisionError):
        in_a_sentence(lambda: 1 // 0)
    assert capsys.readouterr() == ("", "")
