"""``optbench study [NAME…|all]``: verdicts on published findings, whatever they are; without a name, the list."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from runner.cli.arguments import Parser
from runner.cli.typed import Typed
from runner.errors import ConfigError, closest
from runner.study import reference
from runner.study.names import NAMES

if TYPE_CHECKING:
    from runner.study.study import Study

ABOUT = "Published findings, reproduced by ordinary runs: the rule is fixed first, the verdict is what it says."


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("study", ABOUT)
    parser.add_argument("names", nargs="*", metavar="NAME", help="studies, or all; none: list them", words=_names)
    about = "of this class alone: theory, ordering"
    parser.add_word("--class", words=("theory", "ordering"), dest="kind", metavar="CLASS", help=about)
    about = "write outputs/studies.html from the verdicts that are there"
    parser.add_argument("--page", action="store_true", help=about)
    return parser


def _names(typed: Typed) -> list[str]:
    return [name for name in ("all", *NAMES) if name not in typed.before]


def _verdict(study: "Study") -> str:
    """Return a study's verdict, and whether it is of a run here or the shipped one."""
    from runner.study.study import read_verdict

    own, shipped = read_verdict(study), reference.of(study.name, study.rule)
    if own is None and shipped is None:
        return "not run"
    said = str((own or shipped or {})["verdict"]).replace("_", " ")
    return f"{said}, {'here' if own else 'shipped'}"


def _refuse_unknown(names: Iterable[str], known: Collection[str], of: str) -> None:
    for name in names:
        if name != "all" and name not in known:
            raise ConfigError(f"{name!r} is not a study{of}{closest(name, known)}\nvalid: all, {', '.join(known)}")


def run(argv: Sequence[str]) -> int:
    """Run the studies that are named and print their verdicts."""
    arguments = parser().parse_intermixed_args(argv)
    _refuse_unknown(arguments.names, NAMES, "")
    from runner.study.catalogue import STUDIES

    known = {s.name: s for s in STUDIES if arguments.kind in (None, s.kind)}
    _refuse_unknown(arguments.names, known, f" of class {arguments.kind}")
    if not arguments.names and not arguments.page:
        for found in known.values():
            told = f"{found.name:<22} {found.kind:<9} {_verdict(found):<24} about {found.seconds} s"
            print(f"{told}  {found.finding} ({found.source})")
        return 0
    from runner.study.page import write_page
    from runner.study.study import run as run_study

    for name in known if "all" in arguments.names else dict.fromkeys(arguments.names):
        chosen = known[name]
        print(f"{name}: {chosen.rule}", file=sys.stderr)
        verdict = run_study(chosen, lambda text: print(f"optbench: {text}", file=sys.stderr))
        print(f"{name}: {verdict.verdict}\n{verdict.numbers.to_string(index=False)}")
        if (shipped := reference.of(name, chosen.rule)) is not None:
            own = verdict.as_json()
            print(f"{name}: {reference.compared(own['numbers'], own['verdict'], shipped)}")
        print(f"{chosen.folder / 'verdict.json'}\n", flush=True)
    print(f"{write_page()} shows them all")
    return 0
