"""The section `training` of the configuration: where jobs run, what OpenAI's base models stand for here, and who is told when a job ends."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from gateway.config.section import Section
from gateway.config.values import Command, HttpUrl, Name, Text


def _secret(value: SecretStr) -> SecretStr:
    """A webhook secret as OpenAI writes it, or any text. ValueError for a `whsec_` that the receiver could not decode."""
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty: write a secret of at least 16 characters, which the receiver has too")
    if text.startswith("whsec_"):
        try:
            base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("after `whsec_` comes base64; leave `whsec_` out of a secret that is plain text") from None
    return value


class WebhookConfig(Section):
    """Where the end of a job is told, and with which secret it is signed."""

    url: HttpUrl
    secret: Annotated[SecretStr, AfterValidator(_secret)]


class TrainingConfig(Section):
    """How training jobs run, and which engine stands for a base model that OpenAI's API names.

    `python` is an interpreter with the `train` extra (None: the gateway's own), `env` is added to the job's environment, `organization` the third part
    of the names of its models.
    """

    runner: Literal["local"] = "local"
    base_aliases: dict[str, Name] = Field(default={})
    organization: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "breakeven"
    python: Command | None = None
    env: dict[str, Text] = Field(default={}, repr=False)
    webhook: WebhookConfig | None = None
