"""The folder that agents of one host share is believed, so nobody else may have a hand in it."""

import os
import stat

import pytest

from reconciler.app.agent import host_dir
from reconciler.errors import UsageError


def test_it_is_private_and_the_same_for_every_agent_of_the_user(tmp_path):
    folder = host_dir(tmp_path)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert host_dir(tmp_path) == folder


def test_one_that_others_may_write_to_is_refused(tmp_path):
    host_dir(tmp_path).chmod(0o777)
    with pytest.raises(UsageError, match="others may write"):
        host_dir(tmp_path)


def test_a_link_to_a_folder_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"reconciler-{os.getuid()}").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="somebody else made it"):
        host_dir(tmp_path)


def test_a_file_in_its_place_is_refused_with_the_way_on(tmp_path):
    (tmp_path / f"reconciler-{os.getuid()}").write_text("")
    with pytest.raises(UsageError) as refused:
        host_dir(tmp_path)
    assert "TMPDIR" in refused.value.hint
