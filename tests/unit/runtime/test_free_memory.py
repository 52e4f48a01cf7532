"""Memory is given back where the C library can do that, and nothing happens elsewhere."""

from scaler_runtime import free_memory


def test_it_is_asked_to_give_back_everything(monkeypatch):
    asked = []
    monkeypatch.setattr(free_memory, "_trim", asked.append)
    free_memory.give_back_free_memory()
    assert asked == [0]


def test_a_library_that_cannot_is_left_alone(monkeypatch):
    monkeypatch.setattr(free_memory, "_trim", None)
    free_memory.give_back_free_memory()
