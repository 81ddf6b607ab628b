"""Tab completion: the shells' scripts, and the words they ask for. Reads the YAMLs alone, so that it is quick."""

from collections.abc import Mapping

from runner.config.options import default_choices, find, groups, of_every_run, options
from runner.config.specs import Setting

COMMANDS = ("train", "list", "runs", "predict", "doctor", "completion")
FLAGS = ("-m", "--multirun", "--config-dir", "--cfg", "--help")

SCRIPTS = {
    "bash": """\
_optbench() {
    local line="${COMP_LINE:0:COMP_POINT}" words word
    read -ra words <<< "$line"
    [[ "$line" == *" " ]] && words+=("")
    word="${words[-1]}"
    COMPREPLY=($(optbench completion query -- "${words[@]:1}" 2>/dev/null))
    local cut="${word%"${word##*[=:]}"}"
    [[ "$COMP_WORDBREAKS" == *"="* && -n "$cut" ]] && COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    [[ "${#COMPREPLY[@]}" == 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _optbench optbench
""",
    "zsh": """\
_optbench() {
    local -a found
    found=("${(@f)$(optbench completion query -- "${words[@]:1:$((CURRENT-1))}" 2>/dev/null)}")
    compadd -S '' -- $found
}
compdef _optbench optbench
""",
    "fish": """\
function __optbench_words
    set -l words (commandline -opc) (commandline -ct)
    optbench completion query -- $words[2..-1]
end
complete -c optbench -f -a '(__optbench_words)'
""",
}


def complete(words: list[str]) -> list[str]:
    """Return what the last word may become, the words before it given."""
    *before, word = words or [""]
    if not before:
        return [c for c in COMMANDS if c.startswith(word)]
    if before[0] == "list":
        return [g for g in groups() if g.startswith(word)]
    if before[0] != "train":
        return []
    if word.startswith("-"):
        return [f for f in FLAGS if f.startswith(word)]
    key, equals, value = word.partition("=")
    if equals:
        done, comma, last = value.rpartition(",")
        chosen = dict(w.split("=", 1) for w in before if "=" in w)
        values = [o.name for o in options(key)] if key in groups() else list(_values(key, chosen))
        return [f"{key}={done}{comma}{v}" for v in values if v.startswith(last)]
    chosen = dict(w.split("=", 1) for w in before if "=" in w)
    return [f"{k}=" for k in [*groups(), *_settings(chosen)] if k.startswith(word)]


def _values(key: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    setting = _settings(chosen).get(key)
    if setting is None or setting.field is None:
        return ()
    return ("true", "false") if setting.field.kind is bool else setting.field.words


def _settings(chosen: Mapping[str, str]) -> dict[str, Setting]:
    """Return what may be set: the keys of the chosen options, and those of every run."""
    of_all = of_every_run().spec.settings
    found = {key: setting for key, setting in of_all.items() if key.partition(".")[0] not in default_choices()}
    for group, default in default_choices().items():
        names = chosen.get(group, default or "").strip("[]").split(",")
        found |= {f"{group}.{k}": s for name in names if (o := find(group, name)) for k, s in o.settings.items()}
        found |= {key: setting for key, setting in of_all.items() if key.startswith(f"{group}.")}
    return found
