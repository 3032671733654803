"""The history: it outlives the process, keeps its bounds, and says so when it can't be kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.controller import history as module
from reconciler.controller.history import History
from reconciler.errors import HistoryUnavailable
from reconciler.model.status import (
    ApplyRecord,
    ApplyResult,
    DriftEnd,
    DriftRecord,
    RunRecord,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
APPLY = ApplyRecord(
    0, "1" * 40, T0, T0 + timedelta(seconds=2), ApplyResult.PARTIAL, {"done": 1}, "lease lost"
)
DRIFT = DriftRecord(0, "deployment/a/b", "data.env", "drift", "heal", {"A": [1]}, None, T0)
RUN = RunRecord("r1", "bold-owl", "process", "host:1", "running", "started", T0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def history(folder):
    opened = History(folder)
    yield opened
    opened.close()


def reopened(history, folder):
    history.close()
    return History(folder)


def test_all_of_it_is_there_after_a_restart(history, folder):
    number = history.add_apply(APPLY, {"changes": [1]})
    drift = history.begin_drift(DRIFT)
    history.put_run(RUN)
    history.note("suspended", "yes")
    again = reopened(history, folder)
    assert again.applies() == (replace(APPLY, id=number),)
    assert again.apply(number) == (replace(APPLY, id=number), {"changes": [1]})
    assert again.open_drifts() == {("deployment/a/b", "data.env"): drift}
    assert drift == replace(DRIFT, id=drift.id)
    assert again.runs() == (RUN,)
    assert again.noted("suspended") == "yes"
    again.close()


def test_what_was_not_noted_is_not_there(history):
    assert history.apply(7) is None
    assert history.noted("suspended") is None
    assert history.drifts() == history.applies() == history.runs() == ()


def test_a_drift_lasts_until_its_end(history):
    one = history.begin_drift(DRIFT)
    other = history.begin_drift(replace(DRIFT, key="deployment/a/c"))
    history.end_drift(one.id, T0 + timedelta(hours=1), DriftEnd.HEALED)
    assert list(history.open_drifts().values()) == [other]
    [ended] = history.drifts(ended=True)
    assert (ended.id, ended.end, ended.ended) == (one.id, DriftEnd.HEALED, T0 + timedelta(hours=1))
    assert [d.id for d in history.drifts()] == [other.id, one.id]
    assert [d.id for d in history.drifts(key="deployment/a/c")] == [other.id]


def test_applies_are_read_page_by_page_newest_first(history):
    numbers = [history.add_apply(APPLY, None) for _ in range(5)]
    first = history.applies(limit=2)
    assert [one.id for one in first] == numbers[:-3:-1]
    assert [one.id for one in history.applies(limit=2, before=first[-1].id)] == numbers[2:0:-1]


def test_a_run_is_one_row_however_often_it_is_told_of(history):
    history.put_run(RUN)
    history.put_run(replace(RUN, state="completed", ended=T0))
    [run] = history.runs()
    assert (run.state, run.ended) == ("completed", T0)


def test_what_is_too_old_is_dropped_and_what_lasts_is_kept(folder):
    history = History(folder, retention=timedelta(days=1))
    history.add_apply(APPLY, None)
    history.put_run(RUN)
    lasting = history.begin_drift(DRIFT)
    history.begin_drift(replace(DRIFT, path="x", ended=T0, end=DriftEnd.GONE))
    history.prune(T0 + timedelta(hours=1))
    assert len(history.applies()) == len(history.runs()) == 1
    history.prune(T0 + timedelta(days=2))
    assert history.applies() == history.runs() == ()
    assert history.drifts() == (lasting,)
    history.close()


def test_there_are_never_more_rows_than_the_bound(history, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 3)
    for number in range(6):
        history.add_apply(APPLY, None)
        history.put_run(replace(RUN, id=str(number), since=T0 + timedelta(seconds=number)))
    history.prune(T0)
    assert [one.id for one in history.applies()] == [6, 5, 4]
    assert [one.id for one in history.runs()] == ["5", "4", "3"]


def test_a_file_that_is_no_history_is_said(folder):
    folder.mkdir()
    (folder / "history.sqlite").write_bytes(b"no database at all, but long enough to be one" * 50)
    with pytest.raises(HistoryUnavailable, match=r"history\.sqlite") as caught:
        History(folder)
    assert "RECONCILER_STATE_DIR" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryUnavailable):
        History(tmp_path / "file" / "state")


def test_a_full_disk_is_said_and_passes(history):
    history._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(HistoryUnavailable, match="full"):
        history.add_apply(APPLY, {"x": "y" * 100_000})
    history._db.execute("PRAGMA max_page_count = 100000")
    assert history.add_apply(APPLY, None)
