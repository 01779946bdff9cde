"""Great Expectations' door: a table against its workload's expectations, why it fails, and Data Docs.

It tells data that is bad (a report that did not pass) from a check that is broken (an exception: our mistake).
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from data.expectations import ColumnExpected, Expected, QualitySection, RowsExpected, expected
from data.files import write_atomically
from data.imports import without_grammar
from data.quality_pages import stand_alone
from data.spreadsheets import harmless

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from data.section import DataSection

__all__ = ["ColumnExpected", "QualityReport", "QualitySection", "RowsExpected", "check", "write_docs"]

_CELLS_TO_SUMMARISE = 4_000_000  # above: yes or no first, and a summary of what failed
_ROWS_KEPT = 1_000
_RUNS_KEPT = 10
FAILED_ROWS = "failed_rows.csv"


@dataclass(frozen=True)
class QualityReport:
    """What was expected, and what was found. `results` has one small dict per expectation, schema first."""

    passed: bool  # warnings do not count
    rows: int
    results: tuple[dict[str, Any], ...]
    failed_rows: pd.DataFrame | None = field(default=None, repr=False)  # __expectation, __row, then the columns; at most 1,000
    _vendor: Any = field(default=None, repr=False, compare=False)  # the vendor's result, for Data Docs

    @property
    def statistics(self) -> dict[str, int]:
        """How many expectations there are, and how many passed, failed and failed as warnings."""
        failed = [r for r in self.results if not r["passed"]]
        warned = sum(r["severity"] == "warning" for r in failed)
        counts = {"expectations": len(self.results), "passed": len(self.results) - len(failed)}
        return counts | {"failed": len(failed) - warned, "warnings": warned}

    @property
    def as_declared(self) -> bool:
        """Whether the columns and their kinds are the declared ones, so that the values can be looked at."""
        return all(r["passed"] for r in self.results if r["check"] == "schema")

    @property
    def broken(self) -> list[str]:
        """One sentence per expectation that failed and stops the run."""
        return [_sentence(r) for r in self.results if not r["passed"] and r["severity"] != "warning"]

    @property
    def warnings(self) -> list[str]:
        """One sentence per expectation that failed and stops nothing."""
        return [_sentence(r) for r in self.results if not r["passed"] and r["severity"] == "warning"]

    def with_looks(self, results: Sequence[dict[str, Any]], rows: pd.DataFrame | None) -> QualityReport:
        """The same report with what was looked for beside the expectations (data/planted.py), and the rows under suspicion."""
        import pandas as pd

        stopped = any(not r["passed"] and r["severity"] == "critical" for r in results)
        parts = [part for part in (self.failed_rows, rows) if part is not None]
        kept = pd.concat(parts, ignore_index=True) if parts else None
        return replace(self, passed=self.passed and not stopped, results=(*self.results, *results), failed_rows=kept)

    def summary(self) -> dict[str, Any]:
        """The report as JSON; the same data and expectations give the same."""
        return {"passed": self.passed, "rows": self.rows, "statistics": self.statistics, "results": list(self.results)}


def _sentence(row: dict[str, Any]) -> str:
    subject = "the table" if row["column"] is None else f"{row['column']!r}"
    counted = ""
    if row["unexpected_count"]:
        counted = f" ({row['unexpected_count']} rows, {row['unexpected_percent']:.3g} %, are not)"
    elif row["observed"] is not None:
        counted = f" (found: {row['observed']})"
    return f"{subject} {row['expected']}: broken{counted}"


def check(df: pd.DataFrame, data: DataSection, quality: QualitySection) -> QualityReport:
    """Hold the canonical table to its expectations. Bad data is a report that did not pass; RuntimeError is a broken check."""
    wanted = expected(data, quality)
    with _vendor_session() as batch_of:
        batch = batch_of(_without_zone(df))
        result = _validate(batch, wanted, "SUMMARY" if df.size <= _CELLS_TO_SUMMARISE else "BOOLEAN_ONLY")
        failed = [i for i, one in enumerate(result) if not one.success]
        if failed and df.size > _CELLS_TO_SUMMARISE:
            for i, one in zip(failed, _validate(batch, [wanted[i] for i in failed], "SUMMARY"), strict=True):
                result[i] = one
        rows = _failing_rows(batch, df, wanted, failed) if failed else None
    results = tuple(_result(one, found) for one, found in zip(wanted, result, strict=True))
    passed = all(r["passed"] or r["severity"] == "warning" for r in results)
    return QualityReport(passed=passed, rows=len(df), results=results, failed_rows=rows, _vendor=result)


@contextmanager
def _vendor_session() -> Iterator[Any]:
    """A function from a table to a batch; its in-memory project leaves nothing behind."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with without_grammar():
        import great_expectations as gx
        from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    nowhere = DataContextConfig(store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False))
    context = gx.get_context(mode="ephemeral", project_config=nowhere)
    _quiet(context)
    asset = context.data_sources.add_pandas("aiprime").add_dataframe_asset("dataset")
    definition = asset.add_batch_definition_whole_dataframe("whole")
    yield lambda df: definition.get_batch({"dataframe": df})


def _without_zone(df: pd.DataFrame) -> pd.DataFrame:
    """The same table with its times (UTC) as the vendor can read them; shares the other columns' memory."""
    times = {
        name: column.dt.tz_localize(None)
        for name, column in df.items()
        if column.dtype.kind == "M" and hasattr(column.dt, "tz")
    }
    return df.assign(**{str(name): column for name, column in times.items()}) if times else df


def _quiet(context: Any) -> None:
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}


def _suite(wanted: list[Expected]) -> Any:
    import great_expectations as gx
    import great_expectations.expectations as gxe

    def one(i: int, expectation: Expected) -> Any:
        given = dict(expectation.arguments) | ({"column": expectation.column} if expectation.column is not None else {})
        return getattr(gxe, expectation.type)(**given, severity=expectation.severity, meta={"at": i})

    return gx.ExpectationSuite("expectations", expectations=[one(i, e) for i, e in enumerate(wanted)])


def _validate(batch: Any, wanted: list[Expected], detail: str) -> list[Any]:
    """The vendor's results in the order of `wanted` (it changes the order). RuntimeError where a check itself failed."""
    found = batch.validate(_suite(wanted), result_format={"result_format": detail})
    results: list[Any] = [None] * len(wanted)
    for one in found.results:
        at = one.expectation_config.meta["at"]
        if (message := _exception(one.exception_info)) is not None:
            raise RuntimeError(f"the check {wanted[at].type} of {wanted[at].column} is broken, not the data: {message}")
        results[at] = one
    return results


def _exception(info: dict[str, Any] | None) -> str | None:
    """The message in `exception_info`, which is flat or keyed by metric."""
    for one in [info or {}, *(inner for inner in (info or {}).values() if isinstance(inner, dict))]:
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "no message")
    return None


def _result(one: Expected, found: Any) -> dict[str, Any]:
    result = found.result or {}
    percent = result.get("unexpected_percent")
    observed = result.get("observed_value")
    if observed is None and result.get("partial_unexpected_list"):
        observed = list(dict.fromkeys(map(_plain, result["partial_unexpected_list"])))[:5]
    return {
        "check": one.check,
        "expectation": re.sub(r"(?<!^)(?=[A-Z])", "_", one.type).lower(),
        "column": one.column,
        "expected": one.text,
        "observed": observed if isinstance(observed, list) else _plain(observed),
        "unexpected_count": result.get("unexpected_count"),
        "unexpected_percent": None if percent is None else round(float(percent), 4),
        "passed": bool(found.success),
        "severity": one.severity,
    }


def _plain(value: Any) -> Any:
    """A value that JSON can hold, and that is short."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return round(value, 9) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)[:120]


def _failing_rows(batch: Any, df: pd.DataFrame, wanted: list[Expected], failed: list[int]) -> pd.DataFrame | None:
    """The rows that break expectations on single values: which expectation, the row's number from 1, and the row."""
    import pandas as pd

    by_row = [wanted[i] for i in failed if wanted[i].type.startswith("ExpectColumnValues")]
    parts, room = [], max(_ROWS_KEPT // max(len(by_row), 1), 1)
    for one, found in zip(by_row, _validate(batch, by_row, "COMPLETE") if by_row else [], strict=True):
        at = list((found.result or {}).get("unexpected_index_list") or ())[:room]
        if at:
            part = df.loc[at]
            part.insert(0, "__row", [i + 1 for i in at])
            part.insert(0, "__expectation", f"{one.column} {one.text}")
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else None


def write_docs(report: QualityReport, folder: Path) -> Path:
    """The report as Data Docs below `folder` (docs/index.html, returned; the last 10 runs stay), and failed_rows.csv if any.

    Needs the report of this process (`check`), not one read back. About 0.3 s.
    """
    import great_expectations as gx
    from great_expectations.core import ExpectationSuiteValidationResult, RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    folder.mkdir(parents=True, exist_ok=True)
    if report.failed_rows is None:
        (folder / FAILED_ROWS).unlink(missing_ok=True)
    else:
        write_atomically(folder / FAILED_ROWS, harmless(report.failed_rows).to_csv(index=False))
    context: Any = gx.get_context(mode="file", project_root_dir=folder)
    _quiet(context)
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / "docs")},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.variables.data_docs_sites = {"docs": site}
    _forget_old_runs(folder)
    found = list(report._vendor)
    for one in found:
        one.result = one.result or {"observed_value": "as expected"}  # of a large table only what failed was looked at closely
    suite = gx.ExpectationSuite("expectations", expectations=[one.expectation_config.to_domain_obj() for one in found])
    context.suites.add_or_update(suite)
    met = sum(bool(one.success) for one in found)
    counts = {
        "evaluated_expectations": len(found),
        "successful_expectations": met,
        "unsuccessful_expectations": len(found) - met,
    }
    result = ExpectationSuiteValidationResult(
        success=report.passed,
        results=found,
        suite_name="expectations",
        statistics=counts | {"success_percent": 100 * met / max(len(found), 1)},
        meta={"active_batch_definition": {"batch_identifiers": {}}, "validation_id": None},
    )
    run = RunIdentifier(run_name=None)
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier("expectations"), run_id=run, batch_identifier="dataset")
    context.validation_results_store.add(key=key, value=result)
    _compile_templates_once()
    context.build_data_docs()
    stand_alone(folder / "docs")
    return folder / "docs" / "index.html"


@cache
def _compile_templates_once() -> None:
    """The vendor's pages with a cache of Jinja's: without it each page compiles all templates anew, 0.2 s for one report."""
    from great_expectations.render.view import view
    from jinja2 import BytecodeCache, Environment
    from jinja2.bccache import Bucket

    class Compiled(BytecodeCache):
        def __init__(self) -> None:
            self._codes: dict[str, bytes] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            if code := self._codes.get(bucket.key):
                bucket.bytecode_from_string(code)

        def dump_bytecode(self, bucket: Bucket) -> None:
            self._codes[bucket.key] = bucket.bytecode_to_string()

    view.Environment = partial(Environment, bytecode_cache=Compiled())  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]


def _forget_old_runs(folder: Path) -> None:
    """Keep the pages of the newest runs; the vendor would render all of them each time."""
    kept = folder / "gx" / "uncommitted" / "validations" / "expectations"
    runs = sorted((p for p in kept.glob("*/*") if p.is_dir()), key=lambda p: p.name)
    for old in runs[: -(_RUNS_KEPT - 1)]:
        shutil.rmtree(old)
        shutil.rmtree(folder / "docs" / "validations" / "expectations" / old.parent.name / old.name, ignore_errors=True)
