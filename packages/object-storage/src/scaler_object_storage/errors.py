"""What the object storage raises: everything is an `ObjectStorageError`."""


class ObjectStorageError(Exception):
    """The object storage cannot do what was asked; the text says why."""


class ObjectStorageUnreachable(ObjectStorageError):
    """The server has not answered in time."""


class ObjectStorageRefused(ObjectStorageError):
    """The server will not serve this peer: it speaks another version of the protocol."""


class ObjectStorageClosed(ObjectStorageError):
    """The connector was closed, or belongs to another process."""


class ObjectNotFound(ObjectStorageError):
    """The object does not exist, or did not come into being in time."""


class ObjectStorageFull(ObjectStorageError):
    """The memory that holds the objects is full."""

    def __init__(self, directory: str, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(directory, needed_bytes, free_bytes)
        self.directory = directory
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        return (
            f"no place for {self.needed_bytes} bytes in {self.directory}, {self.free_bytes} bytes are free: "
            "drop results and references that are no longer needed, or give /dev/shm more memory"
        )


class DirectoryError(ObjectStorageError):
    """The server cannot have the directory for its objects."""
