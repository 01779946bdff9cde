"""Tables for people who open them in a spreadsheet: a cell of data must not be taken for a formula (OWASP, CSV injection)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width signs count too


def cell(value: Any) -> Any:
    """The value; text that a spreadsheet would compute gets an apostrophe before it. Numbers are numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every text, column names included, as `cell` leaves it; other columns are shared."""
    import pandas as pd

    columns = {
        name: values.map(cell) if values.dtype == object or pd.api.types.is_string_dtype(values.dtype) else values
        for name, values in table.items()
    }
    return pd.DataFrame(columns, index=table.index).rename(columns=cell)
