"""What a client may have unfinished at once. It is told at its registration and keeps to it; one that does not must go.

So the memory that a client can take is bounded, whatever it sends.
"""

from scaler_protocol.batch import MAX_INLINE_BYTES
from scaler_protocol.messages import DefineFunction, SubmitBatch
from scaler_scheduler.core.settings import Settings
from scaler_scheduler.core.state import Client

MAX_FUNCTIONS = 10_000
MAX_FUNCTION_BYTES = 256 << 20
"""Of a client, which keeps to less of both."""


def excess_of_batch(settings: Settings, client: Client, batch: SubmitBatch) -> str:
    """Return what is wrong with one more batch of this client, empty if nothing is. A first one may be of any size."""
    if not client.batches:
        return ""
    if settings.max_unfinished_bytes and client.held_bytes + len(batch.payload) > settings.max_unfinished_bytes:
        return f"it has more than {settings.max_unfinished_bytes} bytes of arguments unfinished"
    limit = settings.max_unfinished_tasks
    if not limit or client.held_tasks + batch.count <= limit:
        return ""
    unfinished = sum(batch.unfinished for batch in client.batches.values())  # some of those held are finished
    return f"it has more than {limit} tasks unfinished" if unfinished + batch.count > limit else ""


def excess_of_function(client: Client, define: DefineFunction) -> str:
    """Return what is wrong with one more function of this client, empty if nothing is."""
    if len(define.payload) > MAX_INLINE_BYTES:
        return f"a function of it has {len(define.payload)} bytes, more than {MAX_INLINE_BYTES}"
    if define.function_id in client.functions:
        return ""
    if len(client.functions) >= MAX_FUNCTIONS:
        return f"it has defined more than {MAX_FUNCTIONS} functions"
    size = client.function_bytes + len(define.payload)
    return f"its functions have more than {MAX_FUNCTION_BYTES} bytes" if size > MAX_FUNCTION_BYTES else ""
