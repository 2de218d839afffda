"""Days as documents and people write them."""

import re
from datetime import date

_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?=$|[T ])")


def parse_day(text: str) -> date | None:
    """The day an ISO 8601 date or moment names, the first one of a year or a month alone; None where it is no date."""
    match = _DAY.match(text.strip())
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:  # the 31st of February
        return None
