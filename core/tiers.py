"""What each tier includes and what each lane promises, read from one declarative file.

`tiers.toml` beside this file holds the defaults; the setting `tiers_file` names an operator's file whose lines go over
them. The composition roots load both once; the door and the stages ask `Tiers.plan` for the limits of an account or a
job, the dispatcher asks `Tiers.max_waits_s`. Which tiers and lanes there are is fixed in `core.lanes`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import Misconfigured
from core.lanes import Lane, Tier

_DEFAULTS = Path(__file__).with_name("tiers.toml")
_UNLIMITED = "unlimited"
_CLOSED = ConfigDict(extra="forbid")  # a misspelt line is an error, not a limit that silently does not hold

_Count = Annotated[int, Field(gt=0, strict=True)]
_Measure = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
_Weight = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
# TOML has no null: a word takes a limit away that the defaults set.
_OrUnlimited = BeforeValidator(lambda value: None if value == _UNLIMITED else value)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an account of one tier may do. Quotas are for a calendar month in UTC; None is unlimited."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    lane: Lane
    """The lane that its jobs take; see `may_use`."""
    monthly_audio_s: Annotated[_Measure | None, _OrUnlimited]
    monthly_pages: Annotated[_Count | None, _OrUnlimited]
    concurrent_jobs: _Count
    """Jobs of one lane that are worked at a time; further ones wait."""
    requests_per_minute: _Count
    upload_max_bytes: _Count
    media_max_s: _Measure
    """The longest recording."""
    retention_days: _Measure
    """A job and all that belongs to it is erased after this."""
    price_weight: _Weight
    """What a second or a page counts in a usage report; 0 is free of charge."""

    def may_use(self, lane: Lane) -> bool:
        """Whether a job may ask for this lane: the plan's own, or a less urgent one."""
        order = list(Lane)
        return order.index(lane) >= order.index(self.lane)


@dataclass(frozen=True, slots=True)
class _Promise:
    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    max_wait_s: _Measure | None = None


@dataclass(frozen=True, slots=True)
class Tiers:
    """The plans of all tiers and the promises of all lanes."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    tiers: Mapping[Tier, Plan]
    lanes: Mapping[Lane, _Promise]

    def plan(self, tier: Tier) -> Plan:
        """What this tier includes."""
        return self.tiers[tier]

    def max_waits_s(self) -> Mapping[Lane, float]:
        """Seconds after which a chunk of a starving lane moves up one; express, the topmost, has none."""
        return {lane: promise.max_wait_s for lane, promise in self.lanes.items() if promise.max_wait_s is not None}


_SHAPE = TypeAdapter(Tiers)


def load(own_file: Path | None = None) -> Tiers:
    """The defaults, with the lines of an operator's file over them. Raises `Misconfigured`, naming file and field."""
    wanted = _read(_DEFAULTS)
    if own_file is not None:
        wanted = _over(wanted, _read(own_file))
    file = own_file or _DEFAULTS
    try:
        tiers = _SHAPE.validate_python(wanted)
    except ValidationError as error:
        raise Misconfigured(f"{file}: {_explained(error)}") from error
    if Lane.EXPRESS in tiers.max_waits_s():
        raise Misconfigured(f"{file}: lanes.express.max_wait_s: no lane is above express; leave the line out.")
    return tiers


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"SCRIBELANE_TIERS_FILE: {file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{file} is not TOML: {error}") from error


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with what `above` names; a table goes over a table line by line."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _explained(error: ValidationError) -> str:
    """Pydantic's findings as `tiers.free.media_max_s: …`; its own marks of keys and types are left out."""
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc'] if part != '[key]')}: {one['msg']}" for one in error.errors()
    )
