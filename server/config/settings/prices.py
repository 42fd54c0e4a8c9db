"""The settings for list prices."""

from __future__ import annotations

from pydantic import field_validator

from server.config.settings.fields import PositiveSeconds, Section


class PricesSettings(Section):
    """Where list prices come from. Prices in the configuration always take precedence.

    update: whether newer lists are fetched while serving; otherwise the installed list is used.
    update_url: where they are fetched from (default: the address of genai-prices).
    """

    update: bool = False
    update_url: str | None = None
    update_every_s: PositiveSeconds = 3600.0

    @field_validator("update_url")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("update_url must begin with http:// or https://")
        return value
