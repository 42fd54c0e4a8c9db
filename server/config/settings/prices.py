"""Where list prices come from."""

from __future__ import annotations

from pydantic import field_validator

from server.config.settings.fields import PositiveSeconds, Section


class PricesSettings(Section):
    """Prices that the configuration gives are never touched. update: fetch newer lists while
    serving, from update_url (default: genai-prices' own); without, the list is the installed one.
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
