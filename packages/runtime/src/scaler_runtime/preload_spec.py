"""How a preload is written: `pkg.mod:func` or `pkg.mod:func(literals)`. Reads it, imports and runs nothing."""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

PRELOAD_FORM = "pkg.mod:func or pkg.mod:func(literals), for example 'models:load(\"large\", layers=3)'"
_SPEC = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<call>(?P<function>[^\W\d]\w*)(\(.*\))?)", re.DOTALL)


@dataclass(frozen=True)
class PreloadSpec:
    """A function of a module and what it is called with."""

    module: str
    function: str
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict[str, Any])


def parse_preload_spec(text: str) -> PreloadSpec:
    """Read a specification; `ValueError` names the expected form."""
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise _malformed(text)
    module, function, call = match["module"], match["function"], match["call"]
    if call == function:
        return PreloadSpec(module, function)
    try:
        expression = ast.parse(call, mode="eval").body
        if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name):
            raise _malformed(text)
        arguments = tuple(ast.literal_eval(argument) for argument in expression.args)
        keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in expression.keywords if keyword.arg}
        if len(keywords) < len(expression.keywords):  # `**something`
            raise _malformed(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _malformed(text) from None
    return PreloadSpec(module, function, arguments, keywords)


def is_preload_spec(text: str) -> bool:
    """Whether `parse_preload_spec` would take it."""
    try:
        parse_preload_spec(text)
    except ValueError:
        return False
    return True


def _malformed(text: str) -> ValueError:
    return ValueError(f"{text!r} is not a preload specification; the form is {PRELOAD_FORM}")
