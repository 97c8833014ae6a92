"""The tiers: the shipped defaults, an operator's lines over them, and refusals that name the file and the line."""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from core import tiers
from core.errors import Misconfigured
from core.lanes import Lane, Tier
from core.tiers import Plan, Tiers

ROOT = Path(__file__).parents[3]
DEFAULTS = tiers.load()


def written(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def loaded(folder: Path, text: str) -> Tiers:
    return tiers.load(written(folder, text))


def test_every_tier_has_a_plan_and_every_lane_a_line() -> None:
    assert (set(DEFAULTS.tiers), set(DEFAULTS.lanes)) == (set(Tier), set(Lane))


def test_the_free_tier_takes_the_standard_lane_and_the_others_express() -> None:
    taken = {tier: DEFAULTS.plan(tier).lane for tier in Tier}

    assert taken == {Tier.FREE: Lane.STANDARD, Tier.PRO: Lane.EXPRESS, Tier.ENTERPRISE: Lane.EXPRESS}


@pytest.mark.parametrize("tier", Tier)
def test_a_plan_may_use_its_own_lane_and_every_less_urgent_one(tier: Tier) -> None:
    plan = DEFAULTS.plan(tier)
    order = list(Lane)
    from_its_own = order[order.index(plan.lane) :]

    assert [lane for lane in Lane if plan.may_use(lane)] == from_its_own


def test_the_free_tier_may_not_use_the_express_lane() -> None:
    assert not DEFAULTS.plan(Tier.FREE).may_use(Lane.EXPRESS)


def test_only_express_makes_no_promise_about_moving_up_and_batch_waits_longest() -> None:
    standard_s, batch_s = DEFAULTS.lanes[Lane.STANDARD].max_wait_s, DEFAULTS.lanes[Lane.BATCH].max_wait_s

    assert set(DEFAULTS.max_waits_s()) == {Lane.STANDARD, Lane.BATCH}
    assert standard_s is not None
    assert batch_s is not None
    assert 0 < standard_s < batch_s


def test_a_larger_tier_includes_no_less_than_a_smaller_one() -> None:
    limits = [field.name for field in fields(Plan) if field.name not in ("lane", "price_weight")]
    plans = [DEFAULTS.plan(tier) for tier in Tier]
    included = {name: [getattr(plan, name) or float("inf") for plan in plans] for name in limits}

    assert {name: values for name, values in included.items() if values != sorted(values)} == {}


def test_without_a_file_of_ones_own_the_defaults_hold(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == DEFAULTS


def test_a_file_changes_the_lines_that_it_names_and_no_others(tmp_path: Path) -> None:
    own = loaded(tmp_path, "[tiers.free]\nmedia_max_s = 60\n[lanes.batch]\nmax_wait_s = 90.5\n")

    assert own.plan(Tier.FREE) == replace(DEFAULTS.plan(Tier.FREE), media_max_s=60)
    assert own.plan(Tier.PRO) == DEFAULTS.plan(Tier.PRO)
    assert own.max_waits_s()[Lane.BATCH] == 90.5
    assert own.max_waits_s()[Lane.STANDARD] == DEFAULTS.max_waits_s()[Lane.STANDARD]


def test_a_quota_may_be_lifted_or_set_where_there_was_none(tmp_path: Path) -> None:
    own = loaded(tmp_path, '[tiers.free]\nmonthly_audio_s = "unlimited"\n[tiers.enterprise]\nmonthly_pages = 5\n')

    assert DEFAULTS.plan(Tier.FREE).monthly_audio_s is not None
    assert own.plan(Tier.FREE).monthly_audio_s is None
    assert own.plan(Tier.ENTERPRISE).monthly_pages == 5


def test_a_tier_may_take_another_lane(tmp_path: Path) -> None:
    assert loaded(tmp_path, '[tiers.free]\nlane = "batch"').plan(Tier.FREE).lane is Lane.BATCH


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tiers.free]\nmedia_max_s = 0", "tiers.free.media_max_s"),
        ("[tiers.free]\nmedia_max_s = -1", "tiers.free.media_max_s"),
        ("[tiers.free]\nmedia_max_s = inf", "tiers.free.media_max_s"),
        ("[tiers.free]\nmedia_max_s = nan", "tiers.free.media_max_s"),
        ('[tiers.free]\nmedia_max_s = "60"', "tiers.free.media_max_s"),
        ('[tiers.free]\nmedia_max_s = "unlimited"', "tiers.free.media_max_s"),
        ("[tiers.pro]\nconcurrent_jobs = 1.5", "tiers.pro.concurrent_jobs"),
        ("[tiers.pro]\nconcurrent_jobs = true", "tiers.pro.concurrent_jobs"),
        ('[tiers.pro]\nmonthly_audio_s = "lots"', "tiers.pro.monthly_audio_s"),
        ("[tiers.pro]\nmonthly_pages = 0", "tiers.pro.monthly_pages"),
        ("[tiers.pro]\nprice_weight = -0.5", "tiers.pro.price_weight"),
        ('[tiers.pro]\nlane = "query"', "tiers.pro.lane"),
        ("[tiers.pro]\nupload_max_byte = 5", "tiers.pro.upload_max_byte"),
        ("[tiers.gold]\nmedia_max_s = 60", "tiers.gold"),
        ("tiers = 3", "tiers"),
        ("[tier.free]\nmedia_max_s = 60", "tier"),
        ("[lanes.query]\nmax_wait_s = 60", "lanes.query"),
        ("[lanes.batch]\nmax_wait_s = 0", "lanes.batch.max_wait_s"),
        ("[lanes.express]\nmax_wait_s = 60", "lanes.express.max_wait_s"),
    ],
)
def test_what_cannot_work_is_refused_by_file_and_line(tmp_path: Path, text: str, named: str) -> None:
    file = written(tmp_path, text)

    with pytest.raises(Misconfigured) as refused:
        tiers.load(file)

    assert refused.value.message.startswith(f"{file}: {named}: ")


def test_a_file_that_is_no_toml_is_named_with_the_place(tmp_path: Path) -> None:
    file = written(tmp_path, "[tiers.free\n")

    with pytest.raises(Misconfigured, match=r"own\.toml is not TOML: .*line 1"):
        tiers.load(file)


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_named_with_the_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="SCRIBELANE_TIERS_FILE") as refused:
        tiers.load(tmp_path / name)

    assert str(tmp_path / name) in refused.value.message


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes(b"# \xff\n")

    with pytest.raises(Misconfigured, match="cannot be read"):
        tiers.load(file)


def test_the_defaults_are_shipped_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["tool"]["setuptools"]["package-data"]["core"] == ["tiers.toml"]


def test_the_readme_shows_the_default_of_every_limit() -> None:
    table = (ROOT / "README.md").read_text().split("| limit | `free` | `pro` | `enterprise` |")[1].split("\n\n")[0]
    shown = {row[0].strip("` "): [cell.strip("` ") for cell in row[1:4]] for row in _rows(table)}

    assert shown == {
        field.name: [_cell(getattr(DEFAULTS.plan(tier), field.name)) for tier in Tier] for field in fields(Plan)
    }


def _rows(table: str) -> list[list[str]]:
    return [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]


def _cell(value: object) -> str:
    return "unlimited" if value is None else f"{value:.15g}" if isinstance(value, (int, float)) else str(value)
