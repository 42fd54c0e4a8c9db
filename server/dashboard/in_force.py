"""The dashboard's JSON for the settings in force: which, and whether the configuration set them.
Secrets are not among them: the configuration names their variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from server.config.settings import Settings

# The hash of a weak key can be guessed at.
_NOBODYS: Final = frozenset({"key_sha256"})
# A URL may hold a password, though the documentation asks for a variable: it is shown without it.
_LOGIN: Final = re.compile(r"(?<=://)[^/@\s]+@")


def settings_in_force(settings: Settings) -> list[dict[str, Any]]:
    """Each setting as {path, value, is_set}. value: JSON; is_set: by the configuration, where False
    means the default. What has neither a value nor a default is left out."""
    return [
        {"path": path, "value": _plain(value), "is_set": is_set}
        for path, value, is_set in _flat("", settings)
    ]


def _flat(prefix: str, section: BaseModel) -> Iterator[tuple[str, Any, bool]]:
    for name in type(section).model_fields:
        value, path = getattr(section, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from _flat(f"{path}.", value)
        elif isinstance(value, Mapping) and any(isinstance(v, BaseModel) for v in value.values()):
            for key, one in value.items():
                yield from _flat(f"{path}.{key}.", one)
        elif value is not None or name in section.model_fields_set:
            yield path, value, name in section.model_fields_set


def _plain(value: Any) -> Any:
    """JSON without the logins of URLs."""
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="json", exclude_unset=True))
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items() if key not in _NOBODYS}
    if isinstance(value, str):
        return _LOGIN.sub("", str(value))
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
