"""The operator's switches: dispatch held for everything or for one workflow, locks broken, policy.

Bucket ``engine_control``: key ``pause`` holds everything, ``pause.{workflow}`` one workflow;
``unlock.{hash}`` says that a run has lost a singleton lock; ``policy`` says which workflows may use
the control plane.
"""

from __future__ import annotations

from collections.abc import Callable

from dagnats.engine.flow import EVERYTHING, Flow, SlotWait
from dagnats.errors import InvalidError
from dagnats.model.codec import decode, raw
from dagnats.model.event import DispatchPayload, Event, EventType
from dagnats.model.policy import Policy
from dagnats.model.records import BrokenLock
from dagnats.runtime.messages import event_message
from dagnats.wire.publisher import Outgoing
from dagnats.wire.stores import Stores

_PREFIX = "$KV.engine_control."
_PAUSE = "pause"
_UNLOCK = "unlock."
POLICY = "policy"


class Control:
    """Follows the switches.

    Args:
        stores: the connection.
        flow: told what is paused.
        resumed: called with the events that set held dispatches going again.
    """

    def __init__(
        self, stores: Stores, flow: Flow, resumed: Callable[[list[Outgoing]], None]
    ) -> None:
        self._stores = stores
        self._flow = flow
        self._resumed = resumed
        self._granted: frozenset[str] = frozenset()
        self._listening = stores.listen(f"{_PREFIX}>", self._changed)

    async def start(self) -> None:
        """Follow changes, then read how the switches are set."""
        await self._listening.start()
        async for entry in self._stores.engine_control.scan():
            self._set(entry.key, entry.value)
        self._release()

    async def stop(self) -> None:
        """Stop following."""
        await self._listening.stop()

    def granted(self, workflow: str) -> bool:
        """Whether steps of a workflow may use the control plane."""
        return workflow in self._granted

    def _changed(self, subject: str, data: bytes) -> None:
        self._set(subject[len(_PREFIX) :], data)
        if not data:
            self._release()

    def _set(self, key: str, data: bytes) -> None:
        if key.startswith(_UNLOCK) and data:
            self._unlock(data)
        elif key == POLICY:
            self._allow(data)
        elif key == _PAUSE or key.startswith(f"{_PAUSE}."):
            change = self._flow.paused.add if data else self._flow.paused.discard
            change(_workflow(key))

    def _allow(self, data: bytes) -> None:
        try:
            policy = decode(data, Policy) if data else Policy()
        except InvalidError:
            policy = Policy()  # What cannot be read allows nothing.
        self._granted = frozenset(policy.control_plane.grant)

    def _unlock(self, data: bytes) -> None:
        try:
            broken = decode(data, BrokenLock)
        except InvalidError:
            return
        # Naming the holder makes an old order harmless: the next run has another id.
        self._flow.unlock(broken.key, broken.run_id)

    def _release(self) -> None:
        waits = self._flow.resumed()
        if waits:
            self._resumed([_go_on(wait) for wait in waits])


def _workflow(key: str) -> str:
    return EVERYTHING if key == _PAUSE else key[len(_PAUSE) + 1 :]


def _go_on(wait: SlotWait) -> Outgoing:
    event = Event(
        type=EventType.STEP_DISPATCH.value,
        run_id=wait.run_id,
        step_id=wait.step_id,
        payload=raw(DispatchPayload(gate="pause")),
        attempt_number=wait.dispatch,
    )
    # No message id: the same dispatch may be held and released many times.
    return event_message(event, "")
