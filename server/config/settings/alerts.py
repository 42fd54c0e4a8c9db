"""The settings for alerts about budgets."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from server.config.settings.fields import Section
from server.config.settings.providers import check_host


class AlertSettings(Section):
    """A webhook that is called when a budget of a window, a key or a session is nearly spent. It is
    told names of keys and amounts, never a text.

    url: where alerts are posted. url_env: the variable that holds the URL, for a URL that is a
    secret itself. secret_env: the variable that holds the secret by which alerts are signed; needed
    with either. at_percent: the shares of a budget at which an alert is sent, in percent.
    allow_private_addresses: whether the URL may be, or its name may resolve to, an address that is
    neither on the public Internet nor this machine.
    """

    url: str | None = None
    url_env: str | None = None
    secret_env: str | None = None
    at_percent: list[Annotated[int, Field(ge=1, le=100)]] = Field(default_factory=lambda: [80, 100])
    allow_private_addresses: bool = False

    @property
    def is_on(self) -> bool:
        """Whether there is anybody to tell."""
        return self.url is not None or self.url_env is not None

    @field_validator("at_percent")
    @classmethod
    def _in_order(cls, value: list[int]) -> list[int]:
        if not value:
            raise ValueError("is empty: name at least one share, such as 80")
        return sorted(set(value))

    @model_validator(mode="after")
    def _is_complete(self) -> AlertSettings:
        if self.url is not None and self.url_env is not None:
            raise ValueError("give one of url and url_env, not both")
        if self.is_on and self.secret_env is None:
            raise ValueError(
                "secret_env is missing: alerts are signed, so name the variable that holds the "
                "secret"
            )
        if self.url is not None:
            check_target(self.url, allow_private=self.allow_private_addresses)
        return self


def check_target(url: str, *, allow_private: bool) -> None:
    """Raises ValueError for a URL that alerts may not be posted to. The message does not hold the
    URL, which may be a secret."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("url must begin with http:// or https://")
    host = urlsplit(url).hostname or ""
    if not host:
        raise ValueError("url names no host")
    if not allow_private:
        check_host(host, "url")
