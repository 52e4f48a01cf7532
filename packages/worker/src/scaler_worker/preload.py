"""Runs what a user wants to have run once in each process before its first task."""

import importlib
import logging

from scaler_runtime.preload_spec import PreloadSpec, parse_preload_spec

_log = logging.getLogger(__name__)


class PreloadSpecError(ValueError):
    """A preload that is not `pkg.mod:func` or `pkg.mod:func(literals)`, or whose target is missing or not callable."""


def parse_preload(text: str) -> PreloadSpec:
    """Read a specification; raises `PreloadSpecError`, which names the form."""
    try:
        return parse_preload_spec(text)
    except ValueError as error:
        raise PreloadSpecError(str(error)) from None


def execute_preload(spec: str) -> None:
    """Import the module and call the function. Raises `PreloadSpecError`, or whatever import and function raise."""
    preload = parse_preload(spec)
    shown = [*map(repr, preload.arguments), *(f"{name}={value!r}" for name, value in preload.keywords.items())]
    _log.info("preloading: %s:%s with args (%s)", preload.module, preload.function, ", ".join(shown))
    try:
        module = importlib.import_module(preload.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{preload.module}.".startswith(f"{error.name}."):
            raise  # something that the module itself needs
        raise PreloadSpecError(f"preload {spec!r}: there is no module {error.name}") from error
    function = getattr(module, preload.function, None)
    if function is None:
        raise PreloadSpecError(f"preload {spec!r}: module {preload.module} has no {preload.function}")
    if not callable(function):
        raise PreloadSpecError(f"preload {spec!r}: {preload.function} is not callable")
    function(*preload.arguments, **preload.keywords)
