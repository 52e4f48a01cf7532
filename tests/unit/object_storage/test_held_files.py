"""What somebody looks at is written again once nobody does, or else goes with its last view."""

import os

import pytest

from scaler_object_storage import held_files as module
from scaler_object_storage.folder import Folder
from scaler_object_storage.free_files import FREE
from scaler_object_storage.held_files import HELD_SECONDS, LOOK_SECONDS, HeldFiles
from scaler_object_storage.object_file import map_object, recycle, write_object
from scaler_object_storage.pins import PINS
from scaler_object_storage.values import Parts

BIG = 1 << 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / FREE).mkdir()
    return Folder(tmp_path)


def names(folder):
    return {path.name for path in folder.path.iterdir()} - {PINS, FREE}


def reusable(folder):
    return len(list((folder.path / FREE).iterdir()))


def held(folder, reader, key=b"key"):
    """Delete an object that `reader` looks at; returns the view, and the name that the file has then."""
    write_object(folder, key, b"owner", Parts.of(os.urandom(BIG)))
    view = map_object(reader, key)
    return view, recycle(folder, key)


def test_it_is_written_again_once_nobody_looks_at_it(folder):
    files, reader = HeldFiles(folder), Folder(folder.path)
    assert files.next_wakeup() is None
    view, name = held(folder, reader)
    files.add(name, 10.0)
    assert files.next_wakeup() == 10.0 + LOOK_SECONDS

    files.look(10.0 + LOOK_SECONDS)
    assert reusable(folder) == 0
    del view
    reader.pins.release()
    files.look(10.0 + LOOK_SECONDS * 1.5)  # too early
    assert reusable(folder) == 0
    files.look(11.0)

    assert reusable(folder) == 1
    assert names(folder) == set()
    assert files.next_wakeup() is None


def test_its_name_goes_when_somebody_looks_for_long(folder):
    files, reader = HeldFiles(folder), Folder(folder.path)
    view, name = held(folder, reader)
    content = bytes(view)
    files.add(name, 10.0)

    files.look(10.0 + HELD_SECONDS)

    assert names(folder) == set()
    assert reusable(folder) == 0
    assert view == content


def test_what_others_removed_is_forgotten(folder):
    files, reader = HeldFiles(folder), Folder(folder.path)
    _view, name = held(folder, reader)
    files.add(name, 10.0)
    folder.unlink(name)

    files.look(11.0)

    assert files.next_wakeup() is None


def test_too_many_are_not_looked_after(folder, monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD", 1)
    files, reader = HeldFiles(folder), Folder(folder.path)
    _first, first_name = held(folder, reader, b"1")
    second, second_name = held(folder, reader, b"2")
    content = bytes(second)

    files.add(first_name, 10.0)
    files.add(second_name, 10.0)

    assert names(folder) == {first_name}
    assert second == content
