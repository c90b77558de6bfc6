"""What every admin endpoint shares: errors in OpenAI's shape whatever went wrong, and frozen bodies that refuse unknown fields."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from gateway.http_errors import answer
from router.errors import BreakevenError, RequestError


class Body(BaseModel):
    """A JSON body, in or out."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AdminRoute(APIRoute):
    """An endpoint whose errors of our tree, and whose malformed requests, are answered as `{"error": {message, type, param, code}}`."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The endpoint with that translation around it."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except RequestValidationError as error:
                return error_response(_invalid(error))
            except BreakevenError as error:
                return error_response(error)

        return handler


def error_response(error: BreakevenError) -> Response:
    """The answer for an error of our tree."""
    made = answer(error)
    return Response(made.body, made.status, {name.decode("latin-1"): value.decode("latin-1") for name, value in made.headers})


def _invalid(error: RequestValidationError) -> RequestError:
    """One sentence that names every field that is wrong; the first is `param`."""
    said = []
    for problem in error.errors():
        # The first part of a place is where it was (body, query); the rest is the field.
        field = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        said.append((field, f"{field}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"))
    return RequestError("; ".join(text for _, text in said), status=400, code="invalid_request", param=said[0][0])
