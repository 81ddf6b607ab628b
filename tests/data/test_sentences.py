"""``data=text_csv``: a column of sentences, in files as people have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.config.options import find
from runner.data import Source
from runner.data.sentences import read_like, text_csv
from runner.data.split import split
from runner.errors import ConfigError, TableError
from tests.support.made_sentences import ASKED, by_presence, write
from tests.support.records import Result

MESSY = """id,said,kind,more
1,"It said ""no"", twice",bad,x
2,"two
lines, one cell",good,
3,🙂👍🏽 fine!,good,y
4,   ,bad,y
5,plain words,,z
6,"  spaces  around ",bad,z

7,NA,good,z
"""


def reading(path: Path, **given: Any) -> Source:
    """Read a file under some settings, all others as the option has them."""
    option = find("data", "text_csv")
    assert option is not None
    settings = {key: setting.default for key, setting in option.settings.items() if key != "normalize"}
    return text_csv(**{**settings, "text": "said", "label": "kind", **given, "path": str(path)})


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    more = "".join(f"{i},some words here,{('good', 'bad')[i % 2]},w\n" for i in range(8, 20))
    path.write_text(MESSY + more, encoding="utf-8")
    return path


def test_quotes_lines_and_emojis_are_read_and_incomplete_rows_named(messy: Path) -> None:
    with pytest.raises(TableError) as error:
        reading(messy)
    said = str(error.value)
    assert "the column said has no text in 1 row, such as row 3" in said
    assert "the column kind has 1 missing values" in said
    assert error.value.settings == {"missing": "drop"}
    source = reading(messy, missing="drop")
    assert source.samples.at is not None and source.samples.at.tolist() == [0, 1, 2, 5, 6, *range(7, 19)]
    assert source.corpus is not None

    def read_back(row: int) -> list[str]:
        return [source.corpus.tokens[place - 1] for place in source.samples.x[row] if place]  # type: ignore[union-attr]

    assert read_back(0) == ["it", "said", '"', "no", '"', ",", "twice"]
    assert read_back(1) == ["two", "lines", ",", "one", "cell"]
    assert read_back(2) == ["🙂", "👍🏽", "fine", "!"]
    assert read_back(3) == ["spaces", "around"]
    assert read_back(4) == ["na"]  # which is a text here
    assert source.labels == ("bad", "good")
    assert any("2 of 19 rows are left out, as values are missing in said (1), kind (1)" in n for n in source.notes)


def test_a_fingerprint_is_of_texts_and_labels_however_they_are_cut(messy: Path) -> None:
    one = reading(messy, missing="drop")
    for other in ({"unit": "characters"}, {"length": 2}, {"vocabulary": 3, "least": 2}, {"lowercase": False}):
        assert reading(messy, missing="drop", **other).fingerprint == one.fingerprint
    messy.write_text(messy.read_text(encoding="utf-8").replace("plain", "PLAIN").replace("twice", "Twice"))
    assert reading(messy, missing="drop").fingerprint != one.fingerprint


def test_what_is_cut_is_said(tmp_path: Path) -> None:
    rows = [("w " * (i + 1), i % 2) for i in range(20)]
    cut = reading(write(tmp_path / "s.csv", rows), length=15)
    assert cut.notes == (
        f"data.path={tmp_path / 's.csv'}: 5 of 20 texts are cut to data.length=15 words; the longest has 20 words",
    )
    assert cut.samples.x.shape == (20, 15)
    assert reading(tmp_path / "s.csv", length=500).samples.x.shape == (20, 20)  # no more padding than is needed


def test_numbers_are_predicted_too(tmp_path: Path) -> None:
    source = reading(write(tmp_path / "s.csv", [(f"w{i} and", i / 7) for i in range(20)]))
    assert source.classes is None and source.samples.y[7, 0] == pytest.approx(1)


def test_a_file_without_a_header_in_another_encoding_with_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes("".join(f"schön {i};{('ja', 'nein')[i % 2]}\n" for i in range(20)).encode("cp1252"))
    given = {"text": "0", "label": "1", "header": False, "delimiter": ";"}
    with pytest.raises(ConfigError, match=r"is not text in utf-8: .*data\.encoding names another, such as cp1252"):
        reading(path, **given)
    source = reading(path, **given, encoding="cp1252")
    assert source.corpus is not None and source.corpus.tokens[0] == "schön" and source.labels == ("ja", "nein")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "nowhere.csv"}, ["data.path=nowhere.csv: there is no such file"]),
        ({"text": "sayd"}, ["data.text=sayd is no column of", "did you mean 'said'?", "valid: id, said, kind, more"]),
        ({"label": "knd"}, ["data.label=knd is no column of", "did you mean 'kind'?"]),
        ({"text": None}, ["data.text must be the column to read", "valid: id, said, kind, more"]),
        ({"label": None}, ["data.label must be the column to predict", "valid: id, said, kind, more"]),
        ({"label": "said"}, ["data.text=said is data.label too"]),
        ({"encoding": "utf-42"}, ["data.encoding must be one that Python knows"]),
        ({"delimiter": ";"}, ["data.text=said is no column", "its header is one cell", "data.delimiter"]),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(given: dict[str, Any], said: list[str], messy: Path, tmp_path: Path) -> None:
    asked = {"missing": "drop", **given}
    with pytest.raises(ConfigError) as error:
        reading(Path(asked.pop("path", messy)), **asked)
    assert [words for words in said if words not in str(error.value)] == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("words here", "same")] * 20, "is same everywhere: there is nothing to tell apart"),
        ([("", "a"), ("", "b")] * 10, "has no text in any row: there is nothing to read"),
        ([("words", f"label {i}") for i in range(20)], "has 20 different values, which are no classes"),
        ([("words", "a"), ("here", "b")] * 3, "has 6 rows to use, which is too few"),
    ],
)
def test_files_without_something_to_learn_are_refused(rows: list[tuple[str, str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(TableError) as error:
        reading(write(tmp_path / "s.csv", rows))
    assert said in str(error.value) and error.value.settings is None


@pytest.mark.parametrize("mark", ["{i} stars", "{i}%", "{i},5"])
def test_labels_that_look_like_numbers_are_classes_on_request(mark: str, tmp_path: Path) -> None:
    rows = [("some words", mark.format(i=i % 5 + 1)) for i in range(60)]
    path = write(tmp_path / "s.csv", rows)
    with pytest.raises(TableError) as error:
        reading(path)
    assert error.value.settings == {"kind": "classes"}
    assert reading(path, kind="classes").labels == tuple(mark.format(i=i + 1) for i in range(5))


def test_a_label_that_is_empty_everywhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no value in any row: there is nothing to predict"):
        reading(write(tmp_path / "s.csv", [("some words", "")] * 30), missing="drop")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["model=cnn"], "model=cnn does not read sentences: use model="),
        (["model=gpt"], "model=gpt does not read sentences: use model="),
        (["model=linear", "data.normalize=standard"], "data.normalize=standard beside sentences, whose words are no"),
        (["model=linear", "data.missing=impute"], "data.missing must be one of refuse, drop, got 'impute'"),
        (["model=linear", "data.unit=word"], "data.unit must be one of words, characters, got 'word'; did you mean"),
        (["model=linear", "model.bag=tf"], "model.bag must be one of tfidf, counts, presence, got 'tf'"),
        (["model=rnn", "regularization=adversarial"], "whose words cannot be moved a little"),
        (["model=linear", "augment=noise"], "augment=noise beside data=text_csv: a sentence's words are no quantities"),
        (["model=mlp", "augment=swap"], "augment=swap beside model=mlp, whose bag of words has no order"),
        (["model=linear", "data.path=none.csv"], "data.path=none.csv: there is no such file"),
        (["model=linear", "data.label=knd"], "data.label=knd is no column of s.csv; did you mean 'kind'?"),
    ],
    ids=str,
)
def test_nothing_is_written_where_something_does_not_fit(
    more: list[str], said: str, optbench: Callable[..., Result], folder: Path
) -> None:
    by_presence(folder / "s.csv", 40)
    given = {o.partition("=")[0] for o in more}
    refused = optbench("train", *(o for o in ASKED if o.partition("=")[0] not in given), *more)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err
    assert [p.name for p in folder.iterdir()] == ["s.csv"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["model=encoder"], "model=encoder reads sentences: use data=text_csv"),
        (["model=linear", "model.bag=counts"], "model.bag=counts counts the words of data=text_csv"),
        (["model.bag=presence"], "model.bag=presence counts the words of data=text_csv"),
        (["augment=swap"], "augment=swap beside data=digits: it changes the words of sentences: use data=text_csv"),
        (["data=text", "model=rnn", "augment=word_dropout"], "augment=word_dropout beside data=text: it changes"),
        (["data=text", "model=encoder"], "model=encoder reads numbers, and texts are characters"),
        (
            [
                "data=concat",
                "data.parts=[wine,text_csv]",
                "data.args={text_csv: {path: s.csv, text: said, label: kind}}",
            ],
            "text_csv reads sentences, which are joined in one file",
        ),
    ],
    ids=str,
)
def test_what_reads_sentences_is_refused_beside_other_data(
    asked: list[str], said: str, optbench: Callable[..., Result], folder: Path
) -> None:
    by_presence(folder / "s.csv", 40)
    refused = optbench("train", *asked)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err
    assert not (folder / "outputs").exists()


def test_a_table_with_sentences_is_told_what_reads_them(optbench: Callable[..., Result], folder: Path) -> None:
    by_presence(folder / "s.csv", 200)
    refused = optbench("train", "data=csv", "data.path=s.csv", "data.label=kind")
    assert refused.code == 2 and "it reads as sentences, which data=text_csv data.text=said classifies" in refused.err


def test_columns_and_parts_are_shown_without_training(optbench: Callable[..., Result], folder: Path) -> None:
    by_presence(folder / "s.csv", 100)
    chosen = optbench("data", "data=text_csv", "data.path=s.csv")
    assert chosen.code == 0
    assert "data.text=… says which column to read" in chosen.err and "data.label=…" in chosen.err
    assert [line.split()[0] for line in chosen.out.splitlines()] == ["column", "said", "kind"]
    shown = optbench("data", *ASKED)
    assert shown.code == 0 and "the text: " in shown.out and "the label: 2 classes" in shown.out
    assert "words at most, of 14 known from train" in shown.out
    assert any(line.split()[:2] == ["not", "known"] for line in shown.out.splitlines())
    assert optbench("data", *ASKED, "data.text=say").code == 2


def test_another_file_is_read_as_the_training_file_was(messy: Path, tmp_path: Path) -> None:
    source = reading(messy, missing="drop")
    how = {"split_seed": 0, "val_fraction": 0.2, "fraction": 1.0, "normalize": "none", "dtype": "float32"}
    data = split(source, **how)
    assert data.reading is not None and data.vocabulary is not None and data.labels is not None
    new = write(tmp_path / "new.csv", [("Some WORDS here", "good"), ("here, and far too many words as well", "odd")])
    samples, note = read_like(str(new), data.reading, 4, data.labels, "--input")
    assert samples.y.tolist() == ["good", "odd"] and samples.x.shape == (2, 4)
    places = data.vocabulary.places
    assert samples.x[0].tolist() == [places["some"], places["words"], places["here"], 0]
    assert note is not None and "1 of 2 texts are cut to 4 tokens" in note
    semicolons = tmp_path / "semicolons.csv"
    semicolons.write_text("n;said\n1;some words\n")
    samples, note = read_like(str(semicolons), data.reading, 4, data.labels, "--input")
    assert samples.y.shape == (1, 0) and note is None
    assert np.array_equal(samples.x[0], [places["some"], places["words"], 0, 0])
    semicolons.write_text("n;sayd\n1;some words\n")
    with pytest.raises(ConfigError, match="lacks the column said, which the run was trained on"):
        read_like(str(semicolons), data.reading, 4, data.labels, "--input")
    semicolons.write_text("n;said\n1;some words\n2;\n")
    with pytest.raises(ConfigError, match="said has no text in row 1"):
        read_like(str(semicolons), data.reading, 4, data.labels, "--input")
