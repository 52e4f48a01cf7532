"""The policy string, and every way to get it wrong."""

import re

import pytest

from scaler_scheduler.policies.registry import parse_policy
from scaler_scheduler.policies.scale_ratio import Bounds


@pytest.mark.parametrize(
    ("text", "allocate", "scaling", "cooldown"),
    [
        ("allocate=even_load; scaling=no", "even_load", "no", 0.0),
        ("scaling=no;allocate=capability", "capability", "no", 0.0),
        ("  allocate = even_load ;; scaling = vanilla ; ", "even_load", "vanilla", 5.0),
        ("allocate=even_load; scaling=vanilla()", "even_load", "vanilla", 5.0),
        ("allocate=even_load; scaling=vanilla(cooldown=30)", "even_load", "vanilla", 30.0),
        ("allocate=even_load; scaling=vanilla(cooldown=0, upper=5 ,lower=0.5)", "even_load", "vanilla", 0.0),
        ("allocate=capability; scaling=capability(cooldown=.5)", "capability", "capability", 0.5),
        ("allocate=even_load; scaling=fixed_elastic (upper=1)", "even_load", "fixed_elastic", 5.0),
        ("allocate=even_load; scaling=backlog(target=0.5,cooldown=1e1)", "even_load", "backlog", 10.0),
    ],
)
def test_what_is_right(text, allocate, scaling, cooldown):
    policies = parse_policy(text)

    assert (policies.allocate.name, policies.scaling.name) == (allocate, scaling)
    assert policies.scaling.cooldown_seconds == cooldown
    assert (policies.scaling.decide is None) == (scaling == "no")


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("vanilla", Bounds(10, 1)),
        ("vanilla(upper=5)", Bounds(5, 1)),
        ("vanilla(lower=0.5,upper=2)", Bounds(2, 0.5)),
        ("capability", Bounds(5, 0.5)),
        ("fixed_elastic", Bounds(10, 1)),
        ("vanilla(upper=1,lower=1)", Bounds(1, 1)),
    ],
)
def test_defaults_and_parameters(text, bounds):
    assert parse_policy(f"allocate=even_load; scaling={text}").scaling.decide.args == (bounds,)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "allocate and scaling missing"),
        ("allocate=even_load", "scaling missing"),
        ("scaling=no", "allocate missing"),
        ("allocate=even_load; allocate=even_load; scaling=no", "allocate appears twice"),
        ("allocate=even_load; scaling=no; scaling=no", "scaling appears twice"),
        ("allocate=even_load; scaling=no; colour=red", "'colour=red' is neither"),
        ("allocate=even_load; scaling", "'scaling' is neither"),
        ("allocate=even_load, scaling=no", "scaling missing; an example"),
        ("allocate=; scaling=no", "allocate= is not known; allowed: even_load, capability"),
        ("allocate=Even_Load; scaling=no", "allowed: even_load, capability"),
        ("allocate=even_load; scaling=", "allowed: no, vanilla, capability, fixed_elastic, backlog"),
        ("allocate=even_load; scaling=elastic", "scaling=elastic is not known"),
        ("allocate=even_load; scaling=vanilla(", "is not known"),
        ("allocate=even_load; scaling=vanilla(upper=1))", "is not known"),
        ("allocate=even_load; scaling=vanilla(upper=5)(lower=1)", "is not known"),
        ("allocate=even_load; scaling=no(cooldown=1)", "has no parameter 'cooldown'; allowed: none"),
        ("allocate=even_load; scaling=no()", "scaling=no takes no parameters"),
        ("allocate=even_load; scaling=vanilla(target=1)", "no parameter 'target'; allowed: upper, lower, cooldown"),
        ("allocate=even_load; scaling=backlog(upper=1)", "no parameter 'upper'; allowed: target, cooldown"),
        ("allocate=even_load; scaling=vanilla(5)", "no parameter '5'"),
        ("allocate=even_load; scaling=vanilla(upper)", "upper= must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(upper=ten)", "upper=ten must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(upper=nan)", "upper=nan must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(upper=inf)", "upper=inf must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(lower=0)", "lower=0 must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(lower=-1)", "lower=-1 must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(cooldown=-1)", "cooldown=-1 must be a number >= 0"),
        ("allocate=even_load; scaling=backlog(target=0)", "target=0 must be a number > 0"),
        ("allocate=even_load; scaling=vanilla(upper=1,lower=2)", "lower=2 must not be greater than upper=1"),
        ("allocate=even_load; scaling=capability(upper=0.1)", "lower=0.5 must not be greater than upper=0.1"),
        ("allocate=even_load; scaling=vanilla(upper=1,upper=2)", "upper appears twice"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        parse_policy(text)

    assert "\n" not in str(caught.value)
