"""The limits that the environment gives."""

import os
from pathlib import Path

import pytest

from scaler_object_storage.limits import DEFAULT_SHARE, Limits


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("123", 123), ("8G", 8 << 30), ("500m", 500 << 20), (" 3 KiB", 3 << 10), ("1TB", 1 << 40)],
)
def test_sizes_are_said_as_people_say_them(text, size):
    assert Limits.from_environment({"SCALER_OBJECT_STORAGE_MEMORY": text}).memory_bytes == size


@pytest.mark.parametrize("text", ["much", "-1", "1.5G", "8 GG"])
def test_what_is_no_size_is_refused_by_the_name_of_the_variable(text):
    with pytest.raises(ValueError, match="SCALER_OBJECT_STORAGE_MEMORY"):
        Limits.from_environment({"SCALER_OBJECT_STORAGE_MEMORY": text})


def test_without_a_word_it_is_a_share_of_the_memory_and_the_usual_disk(tmp_path):
    limits = Limits.from_environment({})

    status = os.statvfs(tmp_path)
    assert limits.memory_of(tmp_path) == int(status.f_blocks * status.f_frsize * DEFAULT_SHARE)
    assert limits.disk == Path("/var/tmp")


def test_an_empty_folder_is_none():
    assert Limits.from_environment({"SCALER_OBJECT_STORAGE_DISK": ""}).disk is None
    assert Limits.from_environment({"SCALER_OBJECT_STORAGE_DISK": "/x"}).disk == Path("/x")


def test_a_folder_is_the_same_wherever_a_link_to_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert Limits.from_environment({"SCALER_OBJECT_STORAGE_DISK": "spill"}).disk == tmp_path / "spill"
