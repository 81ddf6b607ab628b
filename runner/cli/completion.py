"""Tab completion: the shells' scripts, and the words they ask for. Reads the YAMLs alone, so that it is quick."""

from runner.config import fields, schema
from runner.config.options import configs_dir, groups, options, read_option, shared

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
        values = [o.name for o in options(key)] if key in groups() else list(_values(key))
        return [f"{key}={done}{comma}{v}" for v in values if v.startswith(last)]
    chosen = dict(w.split("=", 1) for w in before if "=" in w)
    return [f"{k}=" for k in [*groups(), *_keys(chosen)] if k.startswith(word)]


def _values(key: str) -> tuple[str, ...]:
    field = fields.FIELDS.get(key)
    if field is None:
        return ()
    return ("true", "false") if field.kind is bool else field.words


def _keys(chosen: dict[str, str]) -> list[str]:
    """Return the keys that the chosen options have, and those of every run."""
    keys = [text.partition(":")[0] for text, _ in read_option(configs_dir() / "config.yaml").settings]
    found = [k for k in keys if k in fields.FIELDS]
    found += [f"{section}.{text.partition(':')[0]}" for section in schema.SECTIONS for text, _ in shared(section)]
    for group in groups():
        names = chosen.get(group, _default(group)).strip("[]").split(",")
        found += [f"{group}.{k}" for o in options(group) if o.name in names for k in schema.settings(group, o)]
        of_all = [f"{group}.{text.partition(':')[0]}" for text, _ in shared(group)]
        found += [k for k in of_all if k not in found]
    return found


def _default(group: str) -> str:
    for line in (configs_dir() / "config.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"  - {group}: "):
            return line.partition(": ")[2].strip()
    return ""
