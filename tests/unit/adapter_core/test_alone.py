"""One adapter for each mark."""

import uuid

import pytest

from scaler_adapter_core.alone import alone
from scaler_runtime.program import ProgramError


def test_a_name_is_held_by_one_as_long_as_it_lives():
    name = f"test/{uuid.uuid4().hex}"
    with alone(name, "taken"):
        with pytest.raises(ProgramError, match="taken"):
            alone(name, "taken")
        alone(f"{name}-other", "taken").close()
    alone(name, "taken").close()
