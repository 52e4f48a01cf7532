"""What the codec uses of pycapnp, which comes without types. A loaded schema is dynamic, hence Any."""

from typing import Any

class KjException(Exception): ...

def load(file_name: str, display_name: str | None = None, imports: list[str] = ...) -> Any: ...
