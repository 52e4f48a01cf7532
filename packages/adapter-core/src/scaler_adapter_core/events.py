"""What an adapter's core is told, and what it wants done. Each call to the provider is answered by one event."""

from collections.abc import Sequence
from dataclasses import dataclass

from scaler_adapter_core.provider import LaunchOutcome, LaunchSpec, TerminateMode, Unit
from scaler_protocol.messages import AdapterCommand, AdapterReport

# ---- events


@dataclass(slots=True)
class Connected:
    """Registered with the scheduler; `fresh`: it knows nothing of this adapter."""

    fresh: bool


@dataclass(slots=True)
class Disconnected:
    """The scheduler is out of reach for now."""


@dataclass(slots=True)
class Commanded:
    """A command of the scheduler's."""

    command: AdapterCommand


@dataclass(slots=True)
class Changed:
    """The provider says that there is something to observe."""


@dataclass(slots=True)
class Launched:
    """The answer to `CallLaunch`: an outcome for each of its specs."""

    outcomes: Sequence[LaunchOutcome]


@dataclass(slots=True)
class UnitsObserved:
    """The answer to `CallObserve`."""

    units: Sequence[Unit]


@dataclass(slots=True)
class Terminated:
    """The answer to `CallTerminate`."""


@dataclass(slots=True)
class Diagnosed:
    """The answer to `CallDiagnose`."""

    text: str


@dataclass(slots=True)
class CallFailed:
    """The answer to any call that raised or took too long."""

    reason: str


@dataclass(slots=True)
class StopAsked:
    """End: all groups first. `drain`: their tasks may finish; `is_failure`: the program has failed."""

    reason: str
    drain: bool = True
    is_failure: bool = False


@dataclass(slots=True)
class Tick:
    """Nothing happened, but time has passed."""


Event = (
    Connected
    | Disconnected
    | Commanded
    | Changed
    | Launched
    | UnitsObserved
    | Terminated
    | Diagnosed
    | CallFailed
    | StopAsked
    | Tick
)


# ---- effects


@dataclass(slots=True)
class CallLaunch:
    """Launch these. Only one call is under way at a time; each is answered before the next comes."""

    specs: list[LaunchSpec]


@dataclass(slots=True)
class CallObserve:
    """Observe."""


@dataclass(slots=True)
class CallTerminate:
    """Ask these to end."""

    group_ids: list[str]
    mode: TerminateMode
    grace_seconds: float


@dataclass(slots=True)
class CallDiagnose:
    """Find out more about the end of this group."""

    group_id: str


Call = CallLaunch | CallObserve | CallTerminate | CallDiagnose


@dataclass(slots=True)
class SendReport:
    """Tell the scheduler."""

    report: AdapterReport


@dataclass(slots=True)
class Log:
    """Write one line; `level` is a number of the logging module."""

    level: int
    text: str


@dataclass(slots=True)
class AllReady:
    """Every group of a constant number is ready, for the first time."""


@dataclass(slots=True)
class StartFailed:
    """A group of a constant number could not start before all were ready."""

    reason: str


@dataclass(slots=True)
class Finished:
    """Nothing is left to do: end the program. `failure` is one line, empty where it ended in order."""

    failure: str = ""


Effect = Call | SendReport | Log | AllReady | StartFailed | Finished
