"""The one exception tree. What a client or an operator may see ends here; lower-level errors are translated once, at their seam.

BreakevenError                    code, message (says what to change), param
├── ConfigError                   configuration, recipe or flags are wrong (exit code 2); carries every Problem
├── DataError                     a dataset, suite, trace or adapter directory is wrong (exit code 1); carries every Problem
├── RequestError                  the client's request cannot be served as sent; carries an HTTP status
│   ├── AuthError                 401 / 403
│   └── LimitError                429; carries retry_after_s
├── UpstreamError                 a provider or engine failed; carries what it said
│   ├── UpstreamTimeout           connect, first token, idle or total deadline passed
│   └── UpstreamRefused           it answered with an error status
├── AdapterRefused                an adapter version may not go in; carries every Reason
├── GateRequired                  promotion needs a passed gate or `force` with a reason
├── StateError                    the thing is not in a state that allows this (illegal transition)
└── LedgerError                   a record could not be written ahead; the request must not be admitted
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file the user wrote. `line` counts from 1; None where there is no single line."""

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        head = f"{place}: " if place else ""
        return f"{head}{self.key}: {self.message}" if self.key else f"{head}{self.message}"

    def as_dict(self) -> dict[str, object]:
        """The shape of one entry of `error.problems` in `--json` output."""
        return {"file": self.file, "line": self.line, "key": self.key, "message": self.message}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an adapter version is refused and what would make it acceptable."""

    code: str
    message: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        """The shape of one entry of `error.reasons` in an `adapter_refused` answer."""
        return {"code": self.code, "message": self.message, "remedy": self.remedy}


class BreakevenError(Exception):
    """Root of the tree. `message` is for people and says what to change; `code` is for programs."""

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code


class _WithProblems(BreakevenError):
    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class ConfigError(_WithProblems):
    """Configuration, recipe or flags are wrong: exit code 2."""

    code = "invalid_config"


class DataError(_WithProblems):
    """A dataset, suite, trace or adapter directory is wrong: exit code 1."""

    code = "invalid_data"


class RequestError(BreakevenError):
    """The client's request cannot be served as sent."""

    code = "invalid_request_error"

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.status = status


class AuthError(RequestError):
    """401 for a missing or wrong key, 403 for a key whose scope does not allow this."""

    code = "invalid_api_key"


class LimitError(RequestError):
    """A rate limit, a budget or the gateway's own capacity is used up (429 or 503)."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float | None, status: int = 429, code: str | None = None) -> None:
        super().__init__(message, status=status, code=code)
        self.retry_after_s = retry_after_s


class UpstreamError(BreakevenError):
    """A provider or an engine failed before or during an answer."""

    code = "upstream_error"


class UpstreamTimeout(UpstreamError):
    """A deadline passed; `phase` is connect, retrieval, first_token, idle or total."""

    code = "upstream_timeout"

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message)
        self.phase = phase


class UpstreamRefused(UpstreamError):
    """The upstream answered with an error status; `body` is what it said, unaltered."""

    code = "upstream_refused"

    def __init__(self, message: str, *, status: int, body: bytes, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s


class AdapterRefused(BreakevenError):
    """An adapter version may not go in; every reason found is listed."""

    code = "adapter_refused"

    def __init__(self, message: str, reasons: tuple[Reason, ...]) -> None:
        super().__init__(message)
        self.reasons = reasons


class GateRequired(BreakevenError):
    """Promotion needs a passed gate, or `force` with a `reason`."""

    code = "gate_required"


class StateError(BreakevenError):
    """The thing is not in a state that allows this."""

    code = "illegal_state"


class LedgerError(BreakevenError):
    """A ledger record could not be written ahead, so the request must not be admitted."""

    code = "ledger_unavailable"
