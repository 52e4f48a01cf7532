"""Loads names from the packages behind the facade; for one that is not installed it says what to install."""

import importlib
import importlib.util
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def installed(name: str) -> Generator[None]:
    """Around imports of our packages for `name`: a missing one becomes an `ImportError` that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package.startswith("scaler_") or importlib.util.find_spec(package) is not None:
            raise
        distribution = package.replace("_", "-")
        raise ImportError(
            f"{name} needs the package {distribution}: pip install {distribution}", name=package
        ) from error


def load(module: str, name: str) -> object:
    """Return `name` of `module`."""
    with installed(f"scaler.{name}"):
        return getattr(importlib.import_module(module), name)
