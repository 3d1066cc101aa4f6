"""Errors keep their kind between processes: as JSON, and by the reduction that Ray's pickles go by."""

import copy
import json

import pytest

from latency.errors import MachineTooNoisy, NotRunnable
from supernet.errors import InputError, RunError, error_from_plain, error_to_plain


@pytest.mark.parametrize("kind", [InputError, RunError, NotRunnable, MachineTooNoisy])
def test_an_error_comes_back_as_its_kind(kind):
    for found in (
        error_from_plain(json.loads(json.dumps(error_to_plain(kind("why"))))),
        copy.copy(kind("why")),  # takes an error apart and makes it anew as pickling does
    ):
        assert type(found) is kind
        assert str(found) == "why"


def test_a_kind_that_this_process_does_not_know_comes_back_as_the_one_above():
    class Unheard(NotRunnable):
        pass

    plain = error_to_plain(Unheard("why"))
    plain["error"].insert(0, "Elsewhere")
    assert type(error_from_plain(plain)) is Unheard
    plain["error"].remove("Unheard")
    assert type(error_from_plain(plain)) is NotRunnable
