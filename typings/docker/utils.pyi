"""What docker-py reads from the environment: DOCKER_HOST and its companions."""

from typing import Any

def kwargs_from_env() -> dict[str, Any]: ...
