"""Moving beside the loop: when, one after another, and what happens when the disk fails."""

import asyncio
import threading

from scaler_object_storage.errors import ObjectStorageFull
from scaler_object_storage.mover import LOOK_SECONDS, PAUSE_SECONDS, Mover


class Disk:
    def __init__(self, keys=(), error=None):
        self.keys = list(keys)
        self.error = error
        self.calls = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def excess(self):
        self.calls.append("excess")
        return self.keys

    def open(self):
        self.calls.append("open")

    def copy(self, key, goes_on):
        self.calls.append(("copy", key))
        if self.error is not None:
            raise self.error
        self.may_go_on.wait(60)
        return 7 if goes_on() else None

    def replace(self, key, version):
        self.calls.append(("replace", key, version))


async def end():
    """Wait for everything that the mover has begun."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


def test_it_looks_after_something_was_stored_and_not_too_often():
    disk = Disk()
    mover = Mover(disk)
    mover.look(0.0)
    mover.look(100.0)
    assert disk.calls == ["excess"]
    assert mover.next_wakeup() is None

    mover.note_stored()
    assert mover.next_wakeup() >= LOOK_SECONDS
    mover.look(LOOK_SECONDS / 2)
    assert disk.calls == ["excess"]
    mover.look(100.0)

    assert disk.calls == ["excess", "excess"]


def test_one_is_moved_after_another():
    disk = Disk([b"1", b"2"])

    async def main():
        mover = Mover(disk)
        mover.look(0.0)
        assert mover.is_moving
        await end()

    asyncio.run(main())
    assert disk.calls == ["excess", "open", ("copy", b"1"), ("replace", b"1", 7), ("copy", b"2"), ("replace", b"2", 7)]


def test_a_full_disk_is_said_and_tried_again_later(caplog):
    disk = Disk([b"1", b"2"], ObjectStorageFull("/disk", 10, 5))

    async def main():
        mover = Mover(disk)
        mover.look(0.0)
        await end()
        assert ("copy", b"2") not in disk.calls
        again_at = mover.next_wakeup()
        assert again_at >= PAUSE_SECONDS
        disk.error = None
        mover.look(again_at)
        await end()

    asyncio.run(main())
    assert "/disk" in caplog.text
    assert ("replace", b"2", 7) in disk.calls


def test_stopping_leaves_what_was_on_its_way_where_it_was():
    disk = Disk([b"1", b"2"])
    disk.may_go_on.clear()

    async def main():
        mover = Mover(disk)
        mover.look(0.0)
        await asyncio.sleep(0)
        stopping = asyncio.create_task(mover.stop())
        await asyncio.sleep(0)
        disk.may_go_on.set()
        await stopping

    asyncio.run(main())
    assert disk.calls == ["excess", "open", ("copy", b"1")]
