"""The report on the terminal: the answer first, each command alone on its line."""

import textwrap
import unicodedata
from collections.abc import Sequence

from runner.report.answer import Answer, best_of_each
from runner.report.drawing.columns import WIDTH, aligned, filled
from runner.report.settings import LR, Workload

BEST_OF = ("optim", "init")


def answer_text(answer: Answer) -> str:
    """Return a workload's answer as lines."""
    workload = answer.workload
    lines = [f"For {workload.name}:"] if workload.name else []
    if answer.command is None:
        return "\n".join([*lines, answer.verdict]) + "\n"
    lines += [*map(filled, answer.warnings), *([""] if answer.warnings else [])]
    lines += ["Use:", answer.command, *([filled(answer.doubt)] if answer.doubt else []), ""]
    width = max(len(e.title) for e in answer.estimates)
    word = workload.replicate_word
    for e in answer.estimates:
        line = f"{e.title:<{width}}  {e.interval.mean:<8.4g}"
        if e.interval.known:
            line += f"95 % interval {e.low:.4g} to {e.high:.4g} (mean of {e.interval.n} {word}s); "
            line += f"a new {word}: {e.next_low:.4g} to {e.next_high:.4g}"
        else:
            line += f"one {word}: no interval"
        lines.append(line)
    lines += ["", *map(filled, [answer.verdict, *([answer.rivals] if answer.rivals else [])])]
    lines += ["", "What matters:", *(f"- {filled(line)}" for line in answer.matters)] if answer.matters else []
    lines += ["", *map(filled, answer.notes)] if answer.notes else []
    axis = next((a for a in BEST_OF if a in workload.axes), None)
    if axis is not None:
        lines += ["", f"Best of each {axis}:", _best_of(workload, axis)]
    for reason, command in answer.surer:
        lines += ["", f"{reason}:", command]
    return "\n".join(lines) + "\n"


def _best_of(workload: Workload, axis: str) -> str:
    others = [a for a in workload.axes if a != axis]
    frame = best_of_each(workload, axis, [axis, *others, "n", "mean", "low", "high", "test_mean", "verdict"])
    names = {"n": "seeds", "mean": workload.measure.name, "test_mean": workload.measure.test, LR: "lr"}
    return aligned(frame.rename(columns=names))


def wrapped(lines: Sequence[str]) -> list[str]:
    """Return sentences broken into lines."""
    return [textwrap.fill(line, WIDTH, break_on_hyphens=False) for line in lines]


def printable(text: str) -> str:
    """Return a text that moves no cursor and colours nothing, whatever the runs are called."""
    return "".join("�" if unicodedata.category(c) in ("Cc", "Cf") and c != "\n" else c for c in text)


def bullets(title: str, lines: Sequence[str]) -> str:
    """Return lines below a title, or nothing."""
    return "\n".join([f"{title}:", *(f"- {line}" for line in lines)]) + "\n" if lines else ""
