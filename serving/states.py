"""The life of an adapter version: one table of what may follow what. Everything that affects these states is in this file.

registered ──load──► loaded ──drain──► draining ──unload──► retired
     │  └──refuse──► refused ──add──► registered      │
     └──drain──► draining ◄───────────────────────────┘ ──load──► registered (wanted again before it was gone)

`loaded` means: loaded and verified on every replica that was ready. `refused` keeps its reasons; adding the same content again gives it another try.
"""

from __future__ import annotations

from enum import StrEnum

from router.errors import StateError


class State(StrEnum):
    """Where an adapter version is in its life."""

    REGISTERED = "registered"
    REFUSED = "refused"
    LOADED = "loaded"
    DRAINING = "draining"
    RETIRED = "retired"


class Event(StrEnum):
    """What can happen to one."""

    ADD = "add"  # the same content is added again
    LOAD = "load"  # someone wants it loaded
    VERIFY = "verify"  # it is loaded and verified everywhere
    REFUSE = "refuse"  # the engine or the verification refused it
    DRAIN = "drain"  # no new requests, unload soon
    UNLOAD = "unload"  # it is nowhere any more


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.REGISTERED, Event.ADD): State.REGISTERED,
    (State.REGISTERED, Event.LOAD): State.REGISTERED,
    (State.REGISTERED, Event.VERIFY): State.LOADED,
    (State.REGISTERED, Event.REFUSE): State.REFUSED,
    (State.REGISTERED, Event.DRAIN): State.DRAINING,
    (State.REFUSED, Event.ADD): State.REGISTERED,
    (State.REFUSED, Event.DRAIN): State.DRAINING,
    (State.LOADED, Event.ADD): State.LOADED,
    (State.LOADED, Event.LOAD): State.LOADED,
    (State.LOADED, Event.VERIFY): State.LOADED,
    (State.LOADED, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.ADD): State.DRAINING,
    (State.DRAINING, Event.LOAD): State.REGISTERED,
    (State.DRAINING, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.UNLOAD): State.RETIRED,
    (State.RETIRED, Event.DRAIN): State.RETIRED,
}


def step(state: State, event: Event) -> State:
    """The state after `event`. Raises StateError where the table has no entry."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise StateError(f"a version that is {state} cannot {event}") from None
