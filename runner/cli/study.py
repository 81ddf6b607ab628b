"""``optbench study [NAME…|all]``: verdicts on published findings, whatever they are; without a name, the list."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from runner.cli.arguments import Parser
from runner.cli.typed import Typed
from runner.errors import ConfigError, closest
from runner.study import reference
from runner.study.names import CONTESTS, NAMES

if TYPE_CHECKING:
    from runner.study.study import Study

ABOUT = "Reproduce published findings by ordinary runs. A rule, fixed before the runs, gives the verdict."


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("study", ABOUT)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="studies to run, or all; without a name they are listed", words=_names
    )
    about = "only studies of this class: theory, ordering"
    parser.add_word("--class", words=("theory", "ordering"), dest="kind", metavar="CLASS", help=about)
    about = "write outputs/studies.html from the verdicts that are there"
    parser.add_argument("--page", action="store_true", help=about)
    about = "run the Kth of N parts of a contest (modern, crowded, crowded-large), in any order, on any machine"
    parser.add_argument("--shard", metavar="K/N", help=about)
    return parser


def _names(typed: Typed) -> list[str]:
    return [name for name in ("all", *NAMES, *CONTESTS) if name not in typed.before]


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
    _refuse_unknown(arguments.names, (*NAMES, *CONTESTS), "")
    if any(name in CONTESTS for name in arguments.names) or arguments.shard is not None:
        if arguments.page or arguments.kind == "theory":
            given = "--page" if arguments.page else "--class theory"
            raise ConfigError(f"{given} is for studies: a contest is of class ordering, and its page is docs/modern.md")
        return _contest(arguments.names, arguments.shard)
    from runner.study.catalogue import STUDIES

    known = {s.name: s for s in STUDIES if arguments.kind in (None, s.kind)}
    _refuse_unknown(arguments.names, known, f" of class {arguments.kind}")
    if not arguments.names and not arguments.page:
        for found in known.values():
            told = f"{found.name:<22} {found.kind:<9} {_verdict(found):<24} about {found.seconds} s"
            print(f"{told}  {found.finding} ({found.source})")
        from runner.study.contest.catalogue import CONTESTS as KNOWN
        from runner.study.contest.verdict import hours

        for contest in KNOWN if arguments.kind in (None, "ordering") else ():
            about = f"{contest.name:<22} ordering  {'docs/modern.md':<24} about {hours(contest)}, in shards"
            print(f"{about}  {contest.finding} ({contest.source})")
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


def _contest(names: Sequence[str], shard: str | None) -> int:
    """Run a contest's shard, or judge what is packed of one."""
    if len(names) != 1 or names[0] not in CONTESTS:
        raise ConfigError(f"give one contest and nothing else, one of {', '.join(CONTESTS)}; only these take --shard")
    from runner.study.contest import catalogue, plan, shards, verdict

    contest = next(one for one in catalogue.CONTESTS if one.name == names[0])
    if shard is not None:
        shards.run_shard(contest, *plan.parse_shard(shard), lambda text: print(f"optbench: {text}", file=sys.stderr))
    print(f"{contest.name}: {contest.rule}", file=sys.stderr)
    found, numbers, place = verdict.write(contest)
    print(f"{contest.name}: {found['verdict']}\n{numbers.to_string(index=False)}")
    print(f"{found['parts']} of {found['parts_in_all']} parts, {found['runs']} runs")
    print("\n".join([*verdict.said(contest), str(place)]))
    return 0
