"""The workload's YAML: strict, and its errors name file, key and value."""

import random
from pathlib import Path

import pytest
import yaml

from assets.schedule import check_cron
from assets.spec import names, read
from data.errors import UserError
from data.places import Places

ROOT = Path(__file__).parents[2]
PLACES = Places(root=ROOT, home=ROOT / ".aiprime")
GOOD = {
    "name": "shop",
    "family": "tabular",
    "task": "regression",
    "data": {"source": "shop.csv", "target": "sales", "columns": {"sales": "number", "price": "number?"}},
}


def written(folder: Path, attributes: object) -> Path:
    file = folder / "shop" / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"type": "assets.Workload", "attributes": attributes}))
    return file


@pytest.mark.parametrize("name", names(PLACES))
def test_every_shipped_yaml_is_valid(name: str):
    """Each workload that ships parses, and has the sections that dvc.yaml reads."""
    read(PLACES.defs(name))
    attributes = yaml.safe_load(PLACES.defs(name).read_text())["attributes"]
    assert {"data", "quality", "features", "train", "promote", "serve"} <= set(attributes)


def test_a_good_one_is_read(tmp_path: Path):
    """Defaults live in Python; the YAML states what differs."""
    spec = read(written(tmp_path, GOOD))
    assert spec.name == "shop"
    assert spec.train.size == "tiny"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour: unknown key"),
        ({"family": "poetry"}, "unknown family 'poetry'"),
        ({"task": "guessing"}, "task"),
        ({"name": "Shop!"}, "name"),
        ({"data": GOOD["data"] | {"target": "profit"}}, "'profit' is not among columns"),
        ({"data": GOOD["data"] | {"columns": {"sales": "float"}}}, "'float' is not a kind"),
        ({"data": GOOD["data"] | {"holdout": "many"}}, "data.holdout"),
        ({"features": {"horizons": [0]}}, "features.horizons.0"),
        ({"task": "forecasting"}, "forecasting needs data.time"),
        ({"train": {"size": "huge"}}, "train.size"),
        ({"schedule": {"cron": "every monday"}}, "schedule.cron: 'every monday' has 2 fields"),
        ({"schedule": {"cron": "0 24 * * *"}}, "schedule.cron: '24' is no hour"),
        ({"schedule": {"cron": "0 0 31 4,jun *"}}, "never comes"),
        ({"schedule": {"timezone": "Berlin"}}, "schedule.timezone: 'Berlin' is no time zone"),
        ({"schedule": {"timezone": "Europe"}}, "schedule.timezone: 'Europe' is no time zone"),
        ({"schedule": {"timezone": "../UTC"}}, "schedule.timezone: '../UTC' is no time zone"),
    ],
)
def test_a_bad_one_says_what_and_where(tmp_path: Path, change: dict[str, object], named: str):
    """An unknown key, a wrong type, an unknown family: the error names the file, the key and the value."""
    file = written(tmp_path, GOOD | change)
    with pytest.raises(UserError) as raised:
        read(file)
    assert named in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_missing_file_and_broken_yaml_are_told(tmp_path: Path):
    """No file, no attributes and no YAML each have their own sentence."""
    with pytest.raises(UserError, match="no workload 'nothing'"):
        read(tmp_path / "nothing" / "defs.yaml")
    file = written(tmp_path, GOOD)
    file.write_text("a: [1")
    with pytest.raises(UserError, match="not YAML"):
        read(file)
    file.write_text("type: assets.Workload")
    with pytest.raises(UserError, match="no `attributes:`"):
        read(file)


def test_a_schedule_that_is_accepted_is_one_for_dagster():
    """Whatever cron line the YAML's check lets through, Dagster takes too."""
    from dagster._utils.schedules import is_valid_cron_string

    parts = [
        "*",
        "*/5",
        "0",
        "5",
        "7",
        "12",
        "29",
        "31",
        "60",
        "1-5",
        "5-7",
        "5-1",
        "1,15",
        "1,,2",
        "2/7",
        "*/0",
        "1_0",
        "mon",
        "Feb",
        "x",
        "",
    ]
    chosen = random.Random(0)
    lines = [
        "@daily",
        "@weekly",
        "@reboot",
        *(" ".join(chosen.choices(parts, k=chosen.choice([4, 5, 5, 5, 5, 6]))) for _ in range(3000)),
    ]
    lines += [f"{one} 1 1 1 1" for one in parts] + [f"1 1 1 1 {one}" for one in parts] + [f"1 1 1 {one} *" for one in parts]
    accepted = []
    for line in lines:
        try:
            check_cron(line)
        except ValueError:
            continue
        accepted.append(line)
    assert {"@daily", "*/5 1 1 1 1", "1 1 1 1 mon", "1 1 1 Feb *", "1 1 1 1 5-7"} <= set(accepted)
    for line in accepted:
        assert is_valid_cron_string(line), line
