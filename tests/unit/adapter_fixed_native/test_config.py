"""The options of the fixed native worker adapter."""

import pytest

from scaler_adapter_fixed_native.config import FixedNativeWorkerAdapterConfig
from scaler_adapter_native.config import NativeWorkerAdapterConfig
from scaler_protocol.addresses import Address
from scaler_runtime.config import ConfigError, option_fields
from scaler_runtime.options import WorkerAdapterConfig

ADDRESS = Address("tcp", "127.0.0.1", 8516)


def test_options_are_those_of_the_native_adapter_and_restart():
    native, fixed = option_fields(NativeWorkerAdapterConfig), option_fields(FixedNativeWorkerAdapterConfig)
    assert fixed[:-1] == native
    assert (fixed[-1].key, fixed[-1].option.short, fixed[-1].default) == ("restart", "-r", False)


def test_the_number_of_workers_is_a_number():
    assert FixedNativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS, max_workers=0)).restart is False
    with pytest.raises(ConfigError, match="max_workers must be a whole number >= 0, not -1") as refused:
        FixedNativeWorkerAdapterConfig(WorkerAdapterConfig(ADDRESS, max_workers=-1))
    assert refused.value.keys == ("max_workers",)
