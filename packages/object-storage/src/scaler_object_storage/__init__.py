"""The object storage: large values as bytes, one file each in shared memory, streamed to other machines."""
