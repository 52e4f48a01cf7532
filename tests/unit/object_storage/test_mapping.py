"""Mapped files stay, whatever becomes of their names, and cost no descriptor."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from scaler_object_storage.mapping import map_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    return path


def mapped(path, on_end=lambda: None):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return map_file(descriptor, path.stat().st_size, on_end)
    finally:
        os.close(descriptor)


def mappings(path):
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if str(path) in line]


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_bytes_are_those_of_the_file_and_cannot_be_written(path):
    view = mapped(path)

    assert view == path.read_bytes()
    assert view.format == "B"
    with pytest.raises(TypeError):
        view[0] = 1


def test_a_view_outlives_the_file(path):
    content = path.read_bytes()
    view = mapped(path)[1000:2000]

    path.unlink()

    assert view == content[1000:2000]


def test_the_mapping_ends_with_the_last_view(path):
    view = mapped(path)
    part = view[10:20]
    assert len(mappings(path)) == 1

    del view
    gc.collect()
    assert len(mappings(path)) == 1

    del part
    gc.collect()
    assert mappings(path) == []


def test_its_end_is_told_with_the_last_view_of_it(path):
    ended = []
    view = mapped(path, lambda: ended.append(True))
    array = np.frombuffer(view[1000:2000], np.uint8)[10:]

    del view
    gc.collect()
    assert not ended

    del array
    assert ended == [True]


def test_a_mapping_holds_no_descriptor(path):
    before = descriptors()

    views = [mapped(path) for _ in range(50)]

    assert descriptors() == before
    assert all(view[255] == 255 for view in views)


def test_what_cannot_be_mapped_is_an_error(tmp_path):
    reader, writer = os.pipe()
    try:
        with pytest.raises(OSError, match="No such device"):
            map_file(reader, 4096, lambda: None)
    finally:
        os.close(reader)
        os.close(writer)
