"""The containers of one adapter: makes, shows, ends and removes them. Blocks, and belongs to one thread.

A container that has ended stays until how it ended is known, and is removed then. One that was made but never started
is the rest of a launch that was cut off: it is started when its group is launched again, and otherwise removed.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scaler_adapter_container.config import ContainerWorkerAdapterConfig
from scaler_adapter_container.ends import reason_of
from scaler_adapter_container.engine import (
    Engine,
    EngineError,
    Listed,
    NoSuchContainer,
    NoSuchImage,
    Refused,
    Unanswered,
)
from scaler_adapter_container.pull import Pull
from scaler_adapter_container.request import ADAPTER, GROUP, Labelled, container_name, read_labels, request_of
from scaler_adapter_core.provider import (
    LaunchOutcome,
    LaunchResult,
    LaunchSpec,
    TerminateMode,
    Unit,
    UnitState,
)

MAX_ENDED: Final = 100
"""Most ended groups whose reasons are kept."""
TAIL_LINES: Final = 20
"""How much of a failed container's output goes into the log."""
STARTS_AT_A_LOOK: Final = 8
"""Of groups that have waited for the image: who wants to end them has not to wait for the start of them all."""
_NO_ROOM = (
    "no space left",
    "cannot allocate memory",
    "resource temporarily unavailable",
    "too many open files",
    "no available ip",
    "could not find an available",
)
"""What engines say, among other things, when there may be room later."""
_NOT_STARTED = frozenset({"created", "configured", "initialized"})
_ENDED = frozenset({"exited", "dead", "stopped"})
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """How a group was asked to end, and when it is killed."""

    mode: TerminateMode
    kill_at: float


class Containers:
    """See the module. `on_pulled` is called, in any thread, when a look would start what has waited for the image."""

    def __init__(
        self,
        config: ContainerWorkerAdapterConfig,
        tag: str,
        open_engine: Callable[[], Engine],
        on_pulled: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._tag = tag
        self._open_engine = open_engine
        self._on_pulled = on_pulled
        self._clock = clock
        self._engine = open_engine()
        self._pull: Pull | None = None
        self._waiting: dict[str, LaunchSpec] = {}  # for the image
        self._asked: dict[str, Asked] = {}
        self._ended: dict[str, Unit] = {}
        self._left: set[str] = set()  # ended containers that the engine does not remove

    # ---- launch

    def launch(self, specs: Sequence[LaunchSpec], is_cut_off: Callable[[], bool]) -> list[LaunchOutcome]:
        """Start groups, until the call is cut off."""
        if specs and self._config.container_config.pull == "always" and self._pull is None:
            self._begin_pull()
        outcomes: list[LaunchOutcome] = []
        unavailable = ""
        for spec in specs:
            if unavailable or is_cut_off():
                outcomes.append(LaunchOutcome(LaunchResult.UNAVAILABLE, unavailable or "cut off"))
                continue
            outcome = self._launch(spec)
            if outcome.result in {LaunchResult.UNAVAILABLE, LaunchResult.UNKNOWN}:
                unavailable = outcome.reason  # the next one would wait as long
            outcomes.append(outcome)
        return outcomes

    def _launch(self, spec: LaunchSpec) -> LaunchOutcome:
        if spec.group_id in self._ended or spec.group_id in self._waiting:
            return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
        if self._pull is not None:
            self._waiting[spec.group_id] = spec
            return LaunchOutcome(LaunchResult.ACCEPTED)
        try:
            return self._make(spec)
        except NoSuchImage as error:
            return self._without_image(spec, str(error))

    def _without_image(self, spec: LaunchSpec, reason: str) -> LaunchOutcome:
        container = self._config.container_config
        if container.pull == "never":
            return LaunchOutcome(
                LaunchResult.INVALID, f"the engine has no image {container.image}, and pull is never: {reason}"
            )
        self._begin_pull()
        self._waiting[spec.group_id] = spec
        return LaunchOutcome(LaunchResult.ACCEPTED)

    def _make(self, spec: LaunchSpec) -> LaunchOutcome:
        """Make a container and start it. `NoSuchImage` where the engine has none."""
        request = request_of(self._config, self._tag, spec)
        try:
            container_id = self._engine.create(request)
        except NoSuchImage:
            raise
        except Refused as error:
            # The name may be taken, by the same launch at an earlier time. Each engine says that in its own way.
            found = self._find_own(spec.group_id)
            if found is None:
                return _refusal(error)
            if found.state not in _NOT_STARTED:
                return LaunchOutcome(LaunchResult.ALREADY_EXISTS)
            container_id = found.container_id
        except EngineError as error:
            return _failure(error)
        try:
            self._engine.start(container_id)
        except Refused as error:
            return self._take_back(container_id, error)
        except EngineError as error:
            return LaunchOutcome(LaunchResult.UNKNOWN, str(error))
        return LaunchOutcome(LaunchResult.ACCEPTED)

    def _find_own(self, group_id: str) -> Listed | None:
        try:
            found = self._engine.find(container_name(group_id))
        except EngineError:
            return None
        if found is None or (found.labels.get(ADAPTER), found.labels.get(GROUP)) != (self._tag, group_id):
            return None
        return found

    def _take_back(self, container_id: str, error: EngineError) -> LaunchOutcome:
        """Remove a container that could not be started; if that fails, the next look does."""
        try:
            self._engine.remove(container_id)
        except EngineError as failure:
            _log.debug("container %.12s could not be removed: %s", container_id, failure)
        return _refusal(error)

    # ---- the image

    def _begin_pull(self) -> None:
        image = self._config.container_config.image
        _log.info("the engine fetches the image %s", image)
        self._pull = Pull(image, self._open_engine, self._on_pulled)

    def _start_waiting(self) -> None:
        """Start what has waited for the image, some at each look, or say why it does not come."""
        if self._pull is not None:
            if not self._pull.has_ended:
                return
            failure, self._pull = self._pull.failure, None
            if failure:
                self._bury_waiting(f"the image {self._config.container_config.image} cannot be fetched: {failure}")
            else:
                _log.info("the image has come")
        for group_id in list(self._waiting)[:STARTS_AT_A_LOOK]:
            spec = self._waiting.pop(group_id)
            reason = self._start_with_image(spec)
            if reason:
                self._bury(Unit(group_id, UnitState.FAILED, reason, (), spec.capabilities))
        if self._waiting:
            self._on_pulled()

    def _bury_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for spec in waiting.values():
            self._bury(Unit(spec.group_id, UnitState.FAILED, reason, (), spec.capabilities))

    def _start_with_image(self, spec: LaunchSpec) -> str:
        """Return why it could not be started; empty also where that is not known: the list of containers tells."""
        try:
            outcome = self._make(spec)
        except NoSuchImage as error:
            return f"the image was fetched and is not there: {error}"
        is_there = outcome.result in {LaunchResult.ACCEPTED, LaunchResult.ALREADY_EXISTS, LaunchResult.UNKNOWN}
        return "" if is_there else outcome.reason

    # ---- observe

    def observe(self) -> list[Unit]:
        """Return all groups; kills those whose grace is over, and removes what has ended.

        What the engine refuses to do with one container keeps nobody from seeing the others.
        """
        self._start_waiting()
        listed = self._engine.all_with({ADAPTER: self._tag})
        self._left.intersection_update(container.container_id for container in listed)
        living = [unit for container in listed for unit in self._look_at(container)]
        fetches = f"the engine fetches the image {self._config.container_config.image}" if self._pull else ""
        waiting = [
            Unit(spec.group_id, UnitState.PENDING, fetches, (), spec.capabilities) for spec in self._waiting.values()
        ]
        return [*living, *waiting, *self._ended.values()]

    def _look_at(self, container: Listed) -> Iterator[Unit]:
        group = read_labels(container.labels)
        if group is None:
            return
        if container.state in _NOT_STARTED:
            self._remove(container)
        elif container.state in _ENDED:
            self._take_away(container, group)
        else:
            yield self._living(container, group)

    def _living(self, container: Listed, group: Labelled) -> Unit:
        asked = self._asked.get(group.group_id)
        if asked is not None and self._clock() >= asked.kill_at:
            self._signal(container, "SIGKILL")
        state = UnitState.RUNNING
        if asked is not None:
            state = UnitState.DRAINING if asked.mode is TerminateMode.DRAIN else UnitState.STOPPING
        elif container.state == "removing":
            state = UnitState.STOPPING
        reason = "" if container.state == "running" else f"the container is {container.state}"
        return Unit(group.group_id, state, reason, group.worker_ids, group.capabilities)

    def _take_away(self, container: Listed, group: Labelled) -> None:
        """Write down how a container has ended, then remove it."""
        if group.group_id not in self._ended:
            try:
                state, reason = self._how_it_ended(container, group)
            except NoSuchContainer:  # somebody was faster
                return
            except Refused as error:
                state, reason = UnitState.FAILED, f"the container has ended, the engine does not say how: {error}"
            self._bury(Unit(group.group_id, state, reason, group.worker_ids, group.capabilities))
        self._remove(container)

    def _how_it_ended(self, container: Listed, group: Labelled) -> tuple[UnitState, str]:
        end = self._engine.end_of(container.container_id, TAIL_LINES)
        is_in_order = end.exit_code == 0 or group.group_id in self._asked
        if not is_in_order and end.last_lines:
            said = "\n".join(f"    {line}" for line in end.last_lines)
            _log.warning("group %s, last lines of its container:\n%s", group.group_id, said)
        return UnitState.GONE if is_in_order else UnitState.FAILED, reason_of(end)

    def _remove(self, container: Listed) -> None:
        """Remove a container; one that the engine does not remove is said once, and tried again at each look."""
        try:
            self._engine.remove(container.container_id)
        except Refused as error:
            if container.container_id not in self._left:
                _log.warning("container %.12s could not be removed: %s", container.container_id, error)
            self._left.add(container.container_id)

    def _signal(self, container: Listed, name: str) -> None:
        try:
            self._engine.signal(container.container_id, name)
        except Refused as error:  # whoever insists comes back to it
            _log.warning("container %.12s did not get %s: %s", container.container_id, name, error)

    def _bury(self, unit: Unit) -> None:
        self._asked.pop(unit.group_id, None)
        self._ended[unit.group_id] = unit
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    # ---- terminate, diagnose, close

    def terminate(self, group_ids: Sequence[str], mode: TerminateMode, grace_seconds: float) -> None:
        """Ask groups to end: SIGTERM, and SIGKILL after the grace."""
        for group_id in group_ids:
            spec = self._waiting.pop(group_id, None)
            if spec is not None:
                self._bury(Unit(group_id, UnitState.GONE, "ended before its start", (), spec.capabilities))
        if not group_ids:
            return
        wanted = frozenset(group_ids)
        for container in self._engine.all_with({ADAPTER: self._tag}):
            group = read_labels(container.labels)
            if group is not None and group.group_id in wanted and container.state not in _ENDED:
                self._end(container, group.group_id, mode, grace_seconds)

    def _end(self, container: Listed, group_id: str, mode: TerminateMode, grace_seconds: float) -> None:
        before = self._asked.get(group_id)
        is_new = before is None or before.mode is not mode
        if container.state in _NOT_STARTED:
            self._remove(container)
        elif mode is TerminateMode.KILL or container.state == "paused":
            self._signal(container, "SIGKILL")
        elif is_new:
            # A second one ends the workers at once, which is what a harder mode means.
            self._signal(container, "SIGTERM")
        if is_new:  # and the engine has taken it: else it is asked again
            self._asked[group_id] = Asked(mode, self._clock() + grace_seconds)

    def diagnose(self, group_id: str) -> str:
        """Return how a group has ended, or what it has said last."""
        unit = self._ended.get(group_id)
        if unit is not None:
            return unit.reason
        found = self._find_own(group_id)
        lines = () if found is None else self._engine.last_lines(found.container_id, 1)
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Let go of the connections; containers go on."""
        self._engine.close()


def _refusal(error: EngineError) -> LaunchOutcome:
    text = str(error)
    has_no_room = any(words in text.lower() for words in _NO_ROOM)
    return LaunchOutcome(LaunchResult.NO_CAPACITY if has_no_room else LaunchResult.INVALID, text)


def _failure(error: EngineError) -> LaunchOutcome:
    is_known = not isinstance(error, Unanswered)
    return LaunchOutcome(LaunchResult.UNAVAILABLE if is_known else LaunchResult.UNKNOWN, str(error))
