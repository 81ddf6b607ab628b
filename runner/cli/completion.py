"""``optbench completion SHELL``: tab completion, the shells' scripts and the words they ask for.

The scripts call ``optbench completion query -- WORDS``, which prints what the last word may become, one a line;
``:files`` or ``:folders`` alone leaves it to the shell's own completion of those.
"""

from collections.abc import Sequence
from dataclasses import replace

from runner.cli.arguments import Argument, Parser
from runner.cli.commands import COMMANDS
from runner.cli.typed import Typed

SCRIPTS = {
    "bash": """\
_optbench() {
    local line="${COMP_LINE:0:COMP_POINT}" words word cut
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    word="${words[-1]}"
    cut="${word%"${word##*[=:]}"}"
    [[ "$COMP_WORDBREAKS" == *"="* ]] || cut=""
    if [[ "$word" == [\\'\\"]* ]]; then  # in quotes the shell completes the whole word
        word="${word:1}" cut=""
        words[-1]="$word"
    fi
    mapfile -t COMPREPLY < <(optbench completion query -- "${words[@]:1}" 2>/dev/null)
    case "${COMPREPLY[0]}" in
        :folders) COMPREPLY=(); compopt -o dirnames ;;
        :files) COMPREPLY=(); compopt -o default ;;
    esac
    [[ -n "$cut" ]] && COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    [[ "${#COMPREPLY[@]}" == 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
    return 0
}
complete -F _optbench optbench
""",
    "zsh": """\
_optbench() {
    local -a found
    found=("${(@f)$(optbench completion query -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case "$found[1]" in
        "") ;;
        :folders) _files -/ ;;
        :files) compset -P "*="; _files ;;
        *)
            compadd -S '' -- ${(M)found:#*[=,]}
            compadd -- ${found:#*[=,]}
            ;;
    esac
}
compdef _optbench optbench
""",
    "fish": """\
function __optbench_words
    set -l words (commandline -opc) (commandline -ct | string trim --left --chars "'\\\"")
    set -l found (optbench completion query -- $words[2..-1] 2>/dev/null)
    switch "$found[1]"
        case :folders
            __fish_complete_directories (commandline -ct)
        case :files
            set -l key (string match -r '^[^=/]*=' -- $words[-1])
            set -l path (string sub --start (math (string length -- "$key") + 1) -- $words[-1])
            __fish_complete_path "$path" | string replace -r '^' -- "$key"
        case '*'
            printf '%s\\n' $found
    end
end
complete -c optbench -f -a '(__optbench_words)'
""",
}
OWN_FLAGS = ("--help", "--version")


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("completion", 'Tab completion: eval "$(optbench completion bash)"')
    parser.add_word("shell", words=tuple(SCRIPTS), help=", ".join(SCRIPTS))
    return parser


def run(argv: Sequence[str]) -> int:
    """Print a shell's script, or what a script asks for."""
    if argv[:2] == ["query", "--"]:
        for word in complete(argv[2:]):
            print(word)
        return 0
    print(SCRIPTS[parser().parse_args(argv).shell], end="")
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """Return what the last word may become, the words before it given."""
    *before, word = words or [""]
    if not before:
        return [name for name in (*COMMANDS, *OWN_FLAGS) if name.startswith(word)]
    if before[0] not in COMMANDS:
        return []
    return _argument(COMMANDS[before[0]].parser(), before[1:], word)


def _argument(parser: Parser, before: Sequence[str], word: str) -> list[str]:
    flags = {flag: argument for argument in parser.arguments for flag in argument.flags}
    given, values, waiting = _read(flags, before)
    typed = Typed(word, tuple(given), values.get("config_dir"))
    if waiting is not None:
        return waiting.offered(typed)
    flag, equals, value = word.partition("=")
    if equals and flag in flags:
        offered = flags[flag].offered(replace(typed, word=value))
        return [w if w.startswith(":") else f"{flag}={w}" for w in offered]
    if word.startswith("-"):
        return [f for f, a in flags.items() if f.startswith(word) and (a.repeats or a.key not in values)]
    places = [argument for argument in parser.arguments if not argument.flags]
    places = places[len(given) :] or [argument for argument in places[-1:] if argument.repeats]
    return places[0].offered(typed) if places else []


def _read(flags: dict[str, Argument], before: Sequence[str]) -> tuple[list[str], dict[str, str], Argument | None]:
    """Return the words that are no flags, the flags' values by their keys, and the flag whose value is next."""
    given, values, waiting = [], {}, None
    for word in before:
        flag, equals, value = word.partition("=")
        if waiting is not None:
            values[waiting.key], waiting = word, None
        elif flag in flags:
            values[flags[flag].key] = value
            waiting = flags[flag] if flags[flag].takes_value and not equals else None
        else:
            given.append(word)
    return given, values, waiting
