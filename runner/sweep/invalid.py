"""The jobs of a sweep that cannot be run, told together: each reason once, with the jobs that it is about."""

import re
from collections.abc import Sequence

HOPELESS = 100
"""After so many jobs, all of them refused for one reason, the others are not looked at."""
NAMED = 10
"""Jobs that are named of one reason, and reasons that are given."""


OF_OPTION = re.compile(r"(?P<key>\S+) is a setting of (?P<group>\w+)=.*, but (?P<other>\S+) is chosen")
"""What is said of a key that belongs to another option than the one that is chosen."""


class Invalid:
    """Jobs that cannot be run, and why."""

    def __init__(self, total: int) -> None:
        """Begin without any of a sweep's ``total`` jobs."""
        self._total, self._count = total, 0
        self._reasons: dict[str, list[tuple[int, str]]] = {}

    def add(self, number: int, overrides: Sequence[str], reason: str) -> None:
        """Take a job, by its number, and why it cannot be run."""
        self._count += 1
        self._reasons.setdefault(reason, []).append((number, " ".join(overrides)))

    @property
    def is_hopeless(self) -> bool:
        """Whether all jobs so far were refused for one reason, and these are many."""
        return len(self._reasons) == 1 and self._count >= HOPELESS

    @property
    def advice(self) -> str:
        """What lets the others run, or all of them where settings of one option alone are among those of a grid."""
        said = "skip_invalid=true runs the others"
        if (found := next(filter(None, map(OF_OPTION.search, self._reasons)), None)) is None:
            return said
        return (
            f"{said}; a lone + joins grids, so that {found['key']} goes with its own option alone: "
            f"-m … + {found['other']} + {found['group']}=… {found['key']}=…"
        )

    def __bool__(self) -> bool:
        return self._count > 0

    def __str__(self) -> str:
        """Return what is said: a lone job by its number, what all have once, else each reason with its jobs."""
        first, jobs = next(iter(self._reasons.items()))
        if self._total == 1:
            return first
        if self._count == 1:
            number, asked = jobs[0]
            return f"job {number} of {self._total} ({asked}): {first}"
        if len(self._reasons) == 1 and self._count == self._total:
            return f"none of the {self._total} jobs can be run: {first}"
        lines = [f"{self._count} of {self._total} jobs cannot be run:"]
        for reason, jobs in list(self._reasons.items())[:NAMED]:
            head, *rest = reason.splitlines()
            more = [f"    and {len(jobs) - NAMED} more"] if len(jobs) > NAMED else []
            lines += [f"  {head}", *(f"    job {number} ({asked})" for number, asked in jobs[:NAMED]), *more, *rest]
        if len(self._reasons) > NAMED:
            lines.append(f"  and {len(self._reasons) - NAMED} other reasons")
        return "\n".join(lines)
