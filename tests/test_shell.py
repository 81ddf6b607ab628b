"""A shell passes on each quoted word as it was."""

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.shell import in_quotes, joined, quoted

WORDS = [
    *("init=he,xavier", "optim.lr=1e-3", "data.exclude=[1.50]", "regularization=[l1,dropout]", "+", "…", "name=a b"),
    *("data.label='50 %'", 'data.label="it\'s"', "data.path=$HOME/x", "data.path=~/x", "x=`date`", "x=a!b'c", "x=\\"),
    *("", "=ls", "%1", "*", "a;b", "a&b", "#", "{a,b}", "x=\n", "x=\u00a0", "data.label=Größe", "名前", "-m"),
    *("'", "\"'"),
]


@pytest.mark.parametrize(
    ("override", "typed"),
    [
        ("data.label=Größe", """'data.label="Größe"'"""),
        ("name=a: b", """'name="a: b"'"""),
        ("name=a[", """'name="a: b"'"""),
        ("name", """'name="a: b"'"""),
    ],
)
def test_a_value_is_put_in_quotes(override: str, typed: str) -> None:
    assert in_quotes(override) == typed


@pytest.mark.parametrize("shell", ["bash", "zsh", "sh"])
def test_a_shell_passes_on_each_word_as_it_was(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    call = [shell, "-c", f"printf '%s\\0' {joined(WORDS)}"]
    found = subprocess.run(call, capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.split("\0")[:-1] == WORDS


def test_history_is_not_expanded_where_a_line_is_pasted() -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    line = f"set -o history -H; true\nprintf '%s\\n' {joined(['x=a!b', 'it' + chr(39) + 's!!'])}\n"
    found = subprocess.run(["bash", "--norc"], input=line, capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout == "x=a!b\nit's!!\n"


@settings(max_examples=300)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12))
def test_every_word_is_one_word_when_it_is_read_again(word: str) -> None:
    assert shlex.split(quoted(word)) == [word]


@pytest.mark.parametrize(
    ("word", "typed"),
    [
        ("optim.lr=1e-3,1e-2", "optim.lr=1e-3,1e-2"),
        ("data.exclude=[1.50]", "'data.exclude=[1.50]'"),
        ("data.label='a b'", "\"data.label='a b'\""),
    ],
)
def test_words_are_quoted_no_more_than_they_must(word: str, typed: str) -> None:
    assert quoted(word) == typed
