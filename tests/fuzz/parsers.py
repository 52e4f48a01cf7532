"""Everything that reads bytes or text of others, each with the errors that it documents: any other one is a bug."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pickle import PickleBuffer
from random import Random

from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_cluster.config import ClusterConfig
from scaler_object_storage.errors import ObjectStorageError
from scaler_object_storage.folder import Folder
from scaler_object_storage.header import HEADER_BYTES, Header
from scaler_object_storage.object_file import map_object, read_chunk, read_header, read_value, write_object
from scaler_object_storage.values import Parts, dump_value, load_parts
from scaler_protocol import codec
from scaler_protocol import messages as m
from scaler_protocol import storage_messages as sm
from scaler_protocol.addresses import Address
from scaler_protocol.batch import pack_stored, unpack_stored
from scaler_protocol.errors import ProtocolError
from scaler_protocol.monitor_messages import MonitorReport
from scaler_runtime.command import Command, parse_command
from scaler_runtime.config import ConfigError
from scaler_runtime.preload_spec import parse_preload_spec
from scaler_scheduler.config import SchedulerConfig
from scaler_scheduler.policies.registry import parse_policy
from tests.fuzz.mutations import mutate, mutate_frames
from tests.fuzz.records import kinds_of, message, record


@dataclass(frozen=True)
class Parser:
    """`make` returns an input, damaged or not; `parse` reads it and may raise only `errors`."""

    name: str
    make: Callable[[Random], object]
    parse: Callable[[object], object]
    errors: tuple[type[Exception], ...]

    def try_one(self, rng: Random) -> None:
        """Read one input."""
        given = self.make(rng)
        try:
            self.parse(given)
        except self.errors:
            pass
        except Exception as error:
            error.add_note(f"{self.name} was given {given!r:.2000}")
            raise


def _encoded(encode, packet):
    """Return the frames, or None where a random value does not fit the schema."""
    try:
        return encode(packet)
    except ProtocolError:
        return None


def _packet(rng):
    while True:
        messages = [message(rng, _MESSAGES) for _ in range(rng.choice((0, 1, 1, 1, 2, 5)))]
        frames = _encoded(codec.encode, m.Packet(rng.randrange(10), rng.randrange(10), messages))
        if frames is not None:
            return mutate_frames(rng, frames) if rng.random() < 0.9 else frames


def _storage_packet(rng):
    while True:
        messages = [record(rng, rng.choice(_STORAGE_MESSAGES)) for _ in range(rng.choice((0, 1, 1, 2)))]
        frames = _encoded(codec.encode_storage, sm.StoragePacket(messages))
        if frames is not None:
            return mutate_frames(rng, frames) if rng.random() < 0.9 else frames


def _report(rng):
    while True:
        report = record(rng, MonitorReport)
        report.product, report.protocol_version = m.PRODUCT, m.PROTOCOL_VERSION
        frame = _encoded(codec.encode_monitor, report)
        if frame is not None:
            return mutate(rng, frame)


_MESSAGES, _STORAGE_MESSAGES = kinds_of(m.Message), kinds_of(sm.StorageMessage)


def _text_of(*examples):
    def make(rng):
        text = rng.choice(examples)
        for _ in range(rng.choice((0, 1, 1, 2, 5))):
            at = rng.randrange(len(text) + 1)
            piece = rng.choice((*_PIECES, *examples))
            text = text[:at] + piece + text[at + rng.choice((0, 0, 1, 3)) :]
        return text

    return make


_PIECES = (
    *"\"'\\()[]{}=;:,/.|-_#\0\n\t 0123456789aZüé\u2028\ud800",
    "://",
    "=-1",
    "1e999",
    "9" * 40,
    "(" * 50,
    "[" * 50,
    "==",
    "--",
)

_ADDRESSES = (
    "tcp://127.0.0.1:8516",
    "tcp://[::1]:0",
    "ipc:///tmp/x",
    "tcp://host.name:65535",
    "tcp://*:1",
    "inproc://a",
)
_POLICIES = (
    "allocate=even_load; scaling=no",
    "allocate=capability; scaling=vanilla(upper=5,lower=0.5,cooldown=10)",
    "scaling=fixed_elastic(cooldown=1); allocate=even_load",
    "allocate=even_load; scaling=backlog(target=2)",
)
_PRELOADS = ("pkg.mod:func", "pkg.mod:func(1, 'a', x=[1, (2, {3: None})])", "a:b()", "a.b:c(-1.5e3)")
_ARGUMENTS = (
    "tcp://127.0.0.1:8516 --max-workers 2",
    "tcp://127.0.0.1:8516 -pwc gpu=1,linux --logging-paths - /dev/null",
    "tcp://127.0.0.1:8516 --per-worker-task-queue-size=5 -hps",
    "--logging-level INFO -- tcp://127.0.0.1:1",
)
_TOML = (
    '[scheduler]\nscheduler_address = "tcp://127.0.0.1:8516"\nprotected = true\nclient-timeout-seconds = 5\n',
    '[scheduler]\npolicy_content = "allocate=even_load; scaling=no"\nlogging_paths = ["-"]\n',
    "[scheduler]\nworker_timeout_seconds = 1979-05-27T07:32:00Z\n[other]\na.b = {c = [1, 2.5, inf]}\n",
)


def _parse_arguments(config_class, text):
    with contextlib.redirect_stdout(None):  # it may ask for help
        return parse_command(Command("fuzz", "section", config_class, {}), text.split())


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="scaler-fuzz-")  # goes with the process


def _folder() -> Path:
    return Path(_directory().name)


def _parse_toml(text):
    path = _folder() / "config.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    return parse_command(Command("fuzz", "scheduler", SchedulerConfig, {}), ["--config", str(path)])


_KEY = b"k" * 16


def _object_file(rng):
    folder = _folder()
    value = rng.choice((b"", b"abc", [1, 2], {"a": bytes(100)}, PickleBuffer(bytes(5000))))
    write_object(Folder(folder), _KEY, b"o", dump_value(value) if rng.random() < 0.7 else Parts.of(b"raw"))
    content = (folder / _KEY.hex()).read_bytes()
    return mutate(rng, content[: HEADER_BYTES + 64]) + content[HEADER_BYTES + 64 :] if rng.random() < 0.9 else content


def _read_object_file(content):
    folder = Folder(_folder())
    (folder.path / _KEY.hex()).write_bytes(content)
    read_header(folder, _KEY)
    read_chunk(folder, _KEY, 1, 0, 10)
    header = Header.unpack(content[:HEADER_BYTES])
    if header is not None:
        read_chunk(folder, _KEY, header.version, 5, 1 << 20)
    read_value(folder, _KEY)
    view = map_object(folder, _KEY)
    if view is not None:
        load_parts(view)


PARSERS = {
    parser.name: parser
    for parser in (
        Parser("packets", _packet, codec.decode, (ProtocolError,)),
        Parser("packets of the object storage", _storage_packet, codec.decode_storage, (ProtocolError,)),
        Parser("reports of the monitor", _report, codec.decode_monitor, (ProtocolError,)),
        Parser("addresses", _text_of(*_ADDRESSES), Address.from_string, (ValueError,)),
        Parser("policies", _text_of(*_POLICIES), parse_policy, (ValueError,)),
        Parser("preload specifications", _text_of(*_PRELOADS), parse_preload_spec, (ValueError,)),
        Parser(
            "arguments of the native adapter",
            _text_of(*_ARGUMENTS),
            lambda text: _parse_arguments(NativeWorkerAdapterConfig, text),
            (ConfigError,),
        ),
        Parser(
            "arguments of the cluster",
            _text_of("tcp://127.0.0.1:1 -n 3 --worker-names a,b,c --preload a:b(1)", *_ARGUMENTS),
            lambda text: _parse_arguments(ClusterConfig, text),
            (ConfigError,),
        ),
        Parser("configuration files", _text_of(*_TOML), _parse_toml, (ConfigError,)),
        Parser(
            "stored results",
            lambda rng: mutate(rng, pack_stored(rng.randrange(1 << 60), b"k" * rng.randrange(70))),
            unpack_stored,
            (ProtocolError,),
        ),
        Parser("files of objects", _object_file, _read_object_file, (ObjectStorageError, ValueError)),
    )
}
