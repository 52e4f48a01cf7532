"""The policies by name, and the policy string: `allocate=even_load; scaling=vanilla(upper=5,cooldown=10)`."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from scaler_scheduler.policies import scale_backlog, scale_capability, scale_fixed_elastic, scale_ratio
from scaler_scheduler.policies.allocate import CAPABILITY, EVEN_LOAD, AllocationPolicy
from scaler_scheduler.policies.scale_ratio import Bounds
from scaler_scheduler.policies.snapshot import Decision, ScalingPolicy, Snapshot

DEFAULT_COOLDOWN_SECONDS = 5.0
DEFAULT_TARGET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Policies:
    """What a policy string stands for."""

    allocate: AllocationPolicy
    scaling: ScalingPolicy


def parse_policy(text: str) -> Policies:
    """Read a policy string; `ValueError` says what is wrong and what is allowed."""
    allocate, scaling = _split(text)
    if allocate not in _ALLOCATE:
        raise ValueError(f"allocate={allocate} is not known; allowed: {', '.join(_ALLOCATE)}")
    return Policies(_ALLOCATE[allocate], scaling)


def _split(text: str) -> tuple[str, ScalingPolicy]:
    parts: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals or key not in {"allocate", "scaling"}:
            raise ValueError(f"{part!r} is neither `allocate=...` nor `scaling=...`; an example: {_EXAMPLE}")
        if key in parts:
            raise ValueError(f"{key} appears twice; an example: {_EXAMPLE}")
        parts[key] = value
    scaling = _parse_scaling(parts["scaling"]) if "scaling" in parts else None
    missing = [key for key in ("allocate", "scaling") if key not in parts]
    if scaling is None or missing:
        raise ValueError(f"{' and '.join(missing)} missing; an example: {_EXAMPLE}")
    return parts["allocate"], scaling


def _parse_scaling(text: str) -> ScalingPolicy:
    match = _CALL.fullmatch(text)
    if match is None or match["name"] not in _SCALING:
        raise ValueError(
            f"scaling={text} is not known; allowed: {', '.join(_SCALING)}, with parameters as in {_EXAMPLE}"
        )
    name = match["name"]
    defaults, make = _SCALING[name]
    values = dict(defaults)
    given: set[str] = set()
    for item in filter(None, (piece.strip() for piece in (match["parameters"] or "").split(","))):
        key, _, number = (word.strip() for word in item.partition("="))
        if key in given:
            raise ValueError(f"scaling={name}: {key} appears twice")
        given.add(key)
        if key not in defaults:
            allowed = ", ".join(defaults) or "none"
            raise ValueError(f"scaling={name} has no parameter {key!r}; allowed: {allowed}")
        values[key] = _number(name, key, number)
    if match["parameters"] is not None and not defaults:
        raise ValueError(f"scaling={name} takes no parameters")
    return make(name, values)


def _number(name: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0 or (value == 0 and key != "cooldown"):
        allowed = "a number >= 0" if key == "cooldown" else "a number > 0"
        raise ValueError(f"scaling={name}: {key}={text} must be {allowed}")
    return value


def _bounded(decide: Callable[[Bounds, Snapshot], Decision], name: str, values: Mapping[str, float]) -> ScalingPolicy:
    upper, lower = values["upper"], values["lower"]
    if lower > upper:
        raise ValueError(f"scaling={name}: lower={lower:g} must not be greater than upper={upper:g}")
    return ScalingPolicy(name, partial(decide, Bounds(upper, lower)), values["cooldown"])


def _backlog(name: str, values: Mapping[str, float]) -> ScalingPolicy:
    return ScalingPolicy(name, partial(scale_backlog.decide, values["target"]), values["cooldown"])


def _no(name: str, _: Mapping[str, float]) -> ScalingPolicy:
    return ScalingPolicy(name, None)


_EXAMPLE = '"allocate=even_load; scaling=vanilla(upper=10,lower=1,cooldown=5)"'
_CALL = re.compile(r"(?P<name>\w+)\s*(\((?P<parameters>[^()]*)\))?")
_ALLOCATE = {policy.name: policy for policy in (EVEN_LOAD, CAPABILITY)}
_Make = Callable[[str, Mapping[str, float]], ScalingPolicy]
_SCALING: dict[str, tuple[dict[str, float], _Make]] = {
    "no": ({}, _no),
    "vanilla": (
        {"upper": 10.0, "lower": 1.0, "cooldown": DEFAULT_COOLDOWN_SECONDS},
        partial(_bounded, scale_ratio.decide),
    ),
    "capability": (
        {"upper": 5.0, "lower": 0.5, "cooldown": DEFAULT_COOLDOWN_SECONDS},
        partial(_bounded, scale_capability.decide),
    ),
    "fixed_elastic": (
        {"upper": 10.0, "lower": 1.0, "cooldown": DEFAULT_COOLDOWN_SECONDS},
        partial(_bounded, scale_fixed_elastic.decide),
    ),
    "backlog": ({"target": DEFAULT_TARGET_SECONDS, "cooldown": DEFAULT_COOLDOWN_SECONDS}, _backlog),
}
"""Each with its parameters and their defaults."""
