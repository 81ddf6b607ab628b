"""The user's own tables."""

from runner.data import Source
from runner.data.tables.cells import Reading
from runner.data.tables.table import Roles, Table


def csv(
    *,
    path: str,
    label: str | None,
    columns: list[str],
    exclude: list[str],
    index: str | None,
    text: list[str],
    kind: str,
    missing: str,
    missing_values: list[str],
    delimiter: str,
    decimal: str,
    thousands: str | None,
    units: list[str],
    encoding: str,
    header: bool,
    test_fraction: float,
) -> Source:
    """Read a table: a column of targets, others features; numbers as they are, booleans 0 and 1, texts one-hot.

    Args:
        path: the file.
        label: the column to predict; None is refused, with the columns that there are.
        columns: the features; none named: all others.
        exclude: columns that are left out.
        index: the column that names the rows; None: a nameless first column that counts them, if there is one.
        text: columns that are text whatever they look like.
        kind: ``classes``, ``numbers``, or ``auto``: classes where the column holds texts, or few whole numbers.
        missing: of rows with a missing value: ``refuse``, ``drop``, or ``impute``: the median, or the most frequent
            category, of train, and a feature more that says where.
        missing_values: what means missing, beside an empty cell; among numbers NA, NaN, null and their like do too.
        delimiter: between cells.
        decimal: between a number's whole part and its fraction.
        thousands: between a number's thousands.
        units: symbols beside numbers that are left out.
        encoding: of the file.
        header: the first line names the columns; otherwise they are called 0, 1, 2 …
        test_fraction: the share of the rows held out.

    Raises:
        TableError: naming each column that cannot be used, and the settings by which it can.
    """
    reading = Reading(delimiter, decimal, thousands, tuple(units), tuple(missing_values), encoding, header, tuple(text))
    roles = Roles(label, tuple(columns), tuple(exclude), index, kind, missing)
    return Table(path, reading, roles).source(test_fraction)
