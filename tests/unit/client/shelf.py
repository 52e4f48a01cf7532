"""An object storage in a dict, with what a client's `Objects` offer of it."""

from scaler_client.exceptions import MissingObjects, ObjectStorageException
from scaler_client.handles import Handle


class Shelf:
    """Counts nothing, waits for nothing; what is released is gone at once."""

    def __init__(self, *, is_available=True):
        self.is_available = is_available
        self.objects = {}
        self.fetched = []

    def put(self, parts):
        key = b"key %d" % len(self.objects)
        assert key not in self.objects
        self.objects[key] = parts.cut(0, parts.size)
        return Handle(self, key, parts.size)

    def keep(self, key, size):
        return Handle(self, key, size)

    def handle_of(self, reference):
        if reference.object_id not in self.objects:
            raise MissingObjects(reference)
        return Handle(self, reference.object_id, reference.size)

    def delete(self, keys):
        for key in keys:
            self.objects.pop(key, None)

    def release(self, key):
        self.delete([key])

    def fetch(self, key):
        self.fetched.append(key)
        if key not in self.objects:
            raise ObjectStorageException(f"there is no object {key!r}")
        return memoryview(self.objects[key])

    fetch_shared = fetch

    def fetch_value(self, key):
        return self.fetch(key)

    def try_fetch(self, key):
        return self.fetch(key) if key in self.objects else None
