"""The curve of a search, read back from a trial's folder."""

from orchestrator.data.storage import Storage
from orchestrator.plan.curves import CURVE_FILE, Point, stored_curve
from supernet.plain import to_sealed


def test_a_curve_comes_back_and_one_that_is_missing_or_damaged_has_no_points(tmp_path):
    store = Storage(str(tmp_path))
    assert stored_curve(store) == ()
    points = (Point(1, 2.5, 1.2), Point(10, 2.0, 0.7))
    store.write(CURVE_FILE, to_sealed(points).encode())
    assert stored_curve(store) == points
    (tmp_path / CURVE_FILE).write_text((tmp_path / CURVE_FILE).read_text().replace("2.5", "3.5"))
    assert stored_curve(store) == ()
