"""How a preload is written."""

import pytest

from scaler_runtime.preload_spec import PRELOAD_FORM, PreloadSpec, is_preload_spec, parse_preload_spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("pkg.mod:func", PreloadSpec("pkg.mod", "func")),
        ("mod:func()", PreloadSpec("mod", "func")),
        (" mod:func ", PreloadSpec("mod", "func")),
        ("m:f(1, 'a', x=[2.5, None])", PreloadSpec("m", "f", (1, "a"), {"x": [2.5, None]})),
        ("m:f(y={'k': (True,)})", PreloadSpec("m", "f", (), {"y": {"k": (True,)}})),
        ("m:f(-1, ')')", PreloadSpec("m", "f", (-1, ")"))),
    ],
)
def test_specifications_are_read(text, spec):
    assert parse_preload_spec(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "func",
        "mod.func",
        ":func",
        "mod:",
        "mod:func(",
        "mod:func)",
        "mod:func()()",
        "mod:func(name)",
        "mod:func(g())",
        "mod:func(*[1])",
        "mod:func(**{})",
        "mod:func(**{'a': 1})",
        "mod:func() + g(1)",
        "mod:func() or f(1)",
        "mod:1func",
        "mod..sub:func",
        "mod:func(x=1, x=2)",
        "mod:a.b",
        "mod:func(" + "(" * 500 + ")" * 500 + ")",
    ],
)
def test_others_are_refused_with_the_form(text):
    assert not is_preload_spec(text)
    with pytest.raises(ValueError, match="preload specification") as refused:
        parse_preload_spec(text)
    assert PRELOAD_FORM in str(refused.value)
