"""What the container adapter uses of docker-py, which comes without types. The engine answers JSON, hence Any."""

from collections.abc import Mapping, Sequence
from typing import Any

from docker.types import CancellableStream

class APIClient:
    def __init__(
        self, *, base_url: str | None = None, version: str | None = None, timeout: int = 60, tls: Any = False
    ) -> None: ...
    def close(self) -> None: ...
    def containers(
        self,
        *,
        all: bool = False,  # noqa: A002 - the library calls it so
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> list[dict[str, Any]]: ...
    def create_host_config(
        self,
        *,
        binds: Sequence[str] | None = None,
        mem_limit: int | None = None,
        memswap_limit: int | None = None,
        nano_cpus: int | None = None,
        network_mode: str | None = None,
        shm_size: int | None = None,
    ) -> dict[str, Any]: ...
    def create_container(
        self,
        image: str,
        command: Sequence[str],
        *,
        name: str,
        labels: Mapping[str, str],
        environment: Mapping[str, str],
        user: str | None,
        host_config: Mapping[str, Any],
        stop_timeout: int,
    ) -> dict[str, Any]: ...
    def events(self, *, decode: bool, filters: Mapping[str, Sequence[str]]) -> CancellableStream: ...
    def inspect_container(self, container: str) -> dict[str, Any]: ...
    def kill(self, container: str, signal: str) -> None: ...
    def logs(self, container: str, *, stdout: bool, stderr: bool, tail: int) -> bytes: ...
    def pull(self, repository: str) -> str: ...
    def remove_container(self, container: str, *, v: bool = False, force: bool = False) -> None: ...
    def start(self, container: str) -> None: ...
