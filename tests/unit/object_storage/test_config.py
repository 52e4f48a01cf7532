"""The command's only option."""

import pytest

from scaler_object_storage.config import ObjectStorageConfig
from scaler_protocol.addresses import Address
from scaler_runtime.config import option_fields


def test_the_address_is_positional_and_has_its_name_in_files():
    (option,) = option_fields(ObjectStorageConfig)

    assert option.option.positional
    assert (option.key, option.variable) == ("object_storage_address", "SCALER_OBJECT_STORAGE_ADDRESS")


def test_any_address_can_be_bound_port_0_too():
    address = Address.from_string("tcp://127.0.0.1:0")

    assert ObjectStorageConfig(address).object_storage_address == address


def test_the_address_is_required():
    with pytest.raises(TypeError):
        ObjectStorageConfig()
