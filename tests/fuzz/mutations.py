"""Damage to valid bytes: what lines, disks and strangers do to them."""

from random import Random

_INTERESTING = tuple(n.to_bytes(4, "little") for n in (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 29))


def mutate(rng: Random, data: bytes) -> bytes:
    """Return the bytes with one to a few kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_DAMAGES)(rng, data)
    return data


def mutate_frames(rng: Random, frames: list[bytes]) -> list[bytes]:
    """Return the frames of a message, damaged, or other frames."""
    frames = list(frames)
    what = rng.random()
    if what < 0.7 or not frames:
        at = rng.randrange(len(frames)) if frames else 0
        frames[at : at + 1] = [mutate(rng, frames[at] if frames else b"")]
    elif what < 0.8:
        frames.insert(rng.randrange(len(frames) + 1), rng.randbytes(rng.choice((0, 1, 8, 64))))
    elif what < 0.9:
        del frames[rng.randrange(len(frames))]
    else:
        rng.shuffle(frames)
    return frames


def _flip(rng, data):
    if not data:
        return data
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _overwrite(rng, data):
    at = 4 * rng.randrange(max(1, len(data) // 4))
    return data[:at] + rng.choice(_INTERESTING) + data[at + 4 :]


def _truncate(rng, data):
    return data[: rng.randrange(len(data) + 1)]


def _truncate_words(rng, data):
    return data[: 8 * rng.randrange(len(data) // 8 + 1)]


def _repeat(rng, data):
    low, high = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:high] + data[low:high] * rng.choice((1, 3, 50)) + data[high:]


def _insert(rng, data):
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 8, 64))) + data[at:]


def _replace(rng, data):
    return rng.randbytes(rng.choice((0, 1, 8, 64, 4096)))


_DAMAGES = (_flip, _flip, _flip, _overwrite, _overwrite, _truncate, _truncate_words, _repeat, _insert, _replace)
