"""Going on with a conversation: its earlier turns are put before the request's own input, so that any candidate can answer, natively or not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.responses import items
from gateway.responses.ids import is_ours
from gateway.responses.request import to_chat
from gateway.wire import Ask, Turn
from router.errors import RequestError

if TYPE_CHECKING:
    from gateway.context import Gateway
    from gateway.store.keys import Key


async def recall(gateway: Gateway, key: Key | None, ask: Ask) -> Ask:
    """The request with the turns that `previous_response_id` stands for. An id of a provider's stays as it is: only a native candidate can go on there.

    RequestError 400, in OpenAI's words, for an id that the key does not have.
    """
    previous = ask.body.get("previous_response_id")
    if previous is None or not is_ours(previous):
        return ask
    turns = await gateway.responses.conversation(gateway.database, previous, key.id if key is not None else None)
    if turns is None:
        raise not_found(previous)
    earlier = [item for turn in turns for item in items.shown([*turn.input, *turn.response["output"]])]
    body = {name: value for name, value in ask.body.items() if name != "previous_response_id"}
    body["input"] = [*earlier, *items.given(ask.body.get("input"))]
    return replace(ask, body=body, chat=to_chat(body), turn=Turn(ask.body, previous, turns[-1].root))


def not_found(response_id: str) -> RequestError:
    """There is no such answer, or not for this key."""
    message = f"Previous response with id '{response_id[:200]}' not found."
    return RequestError(message, param="previous_response_id", code="previous_response_not_found")
