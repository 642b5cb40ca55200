"""A glossary is read whole or refused with the line that is wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prelabel.core.terms import Term
from prelabel.errors import SettingsError
from prelabel.guidance.glossary import read_glossary
from prelabel.guidance.lines import LARGEST_FILE


def read(folder: Path, name: str, content: str | bytes) -> tuple[Term, ...]:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_glossary(file)


def test_yaml_holds_terms_with_explanations_and_aliases(tmp_path: Path) -> None:
    content = """
# What our customers write
RMA: Number under which goods
  come back
Hearth Plus: {explanation: The yearly plan, aliases: [plus plan, 플러스]}
退款:
  explanation: |
    Money
    back
  aliases: 返金, 환불
no: Norway
007: 1
"""

    assert read(tmp_path, "terms.yaml", content) == (
        Term("RMA", "Number under which goods come back"),
        Term("Hearth Plus", "The yearly plan", ("plus plan", "플러스")),
        Term("退款", "Money back", ("返金", "환불")),
        Term("no", "Norway"),
        Term("007", "1"),
    )


@pytest.mark.parametrize("ending", [".yml", ".YAML"])
def test_the_ending_says_what_it_is(tmp_path: Path, ending: str) -> None:
    assert read(tmp_path, f"terms{ending}", "RMA: number") == (Term("RMA", "number"),)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_has_columns_by_name(tmp_path: Path, delimiter: str) -> None:
    lines = (
        ("\ufeffExplanation", "Term", "aliases", "note"),
        ('"the ""yearly""\nplan"', "Hearth Plus", "plus plan | 플러스", "x"),
        ("", "", "", ""),
        ("number", "RMA", "", ""),
    )

    terms = read(tmp_path, "terms.csv", "\r\n".join(delimiter.join(line) for line in lines))

    assert terms == (Term("Hearth Plus", 'the "yearly" plan', ("plus plan", "플러스")), Term("RMA", "number"))


@pytest.mark.parametrize(
    ("name", "content"), [("t.yaml", ""), ("t.yaml", "# none yet\n"), ("t.csv", "term,explanation\n")]
)
def test_a_file_without_terms_has_none(tmp_path: Path, name: str, content: str) -> None:
    assert read(tmp_path, name, content) == ()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.yaml", "a: b\nc: [d", "line 2: it is not YAML: expected ',' or ']'"),
        ("t.yaml", "a: b\n\tc: d", "line 2: it is not YAML: found character '\\t' that cannot start any token"),
        ("t.yaml", "a: b\nc: d\0", "line 2: it is not YAML: the character '\\x00' may not stand there"),
        ("t.yaml", "a: b\n---\nc: d", "line 2: it is not YAML: but found another document"),
        ("t.yaml", "[" * 5000, "line 1: it is nested too deep"),
        ("t.yaml", "\n- a\n- b", "line 2: expected lines of the form TERM: EXPLANATION"),
        ("t.yaml", "just words", "line 1: expected lines of the form TERM: EXPLANATION"),
        ("t.yaml", "? [a]\n: b", "line 1: a term must be a text"),
        ("t.yaml", "a: b\nc: [d]", "line 2: the explanation of 'c' must be a text"),
        ("t.yaml", "a: b\nc:", "line 2: 'c' has no explanation"),
        ("t.yaml", "a: ~", "line 1: 'a' has no explanation"),
        ("t.yaml", "a: {aliases: [b]}", "line 1: 'a' has no explanation"),
        ("t.yaml", "a: {explanation: b, alias: c}", "line 1: 'a' has 'alias'; it may have an explanation and aliases"),
        ("t.yaml", "a: {explanation: b, aliases: [[c]]}", "line 1: each alias of 'a' must be a text"),
        ("t.yaml", "a: {explanation: b, aliases: {c: d}}", "line 1: the aliases of 'a' must be a text"),
        ("t.yaml", "'': b", "line 1: it has no term"),
        ("t.yaml", "RMA: b\n\nrma: c", "line 3: 'rma' stands in line 1 already"),
        ("t.yaml", "a: {explanation: b, aliases: [c]}\nC: d", "line 2: 'C' stands in line 1 already"),
        ("t.yaml", f"a: {'word ' * 300}", "line 1: the explanation of 'a' is about 375 tokens long, at most 300"),
        ("t.csv", "", "line 1: the header must name the columns term and explanation"),
        ("t.csv", "name,explanation\n", "line 1: the header must name the columns term and explanation"),
        ("t.csv", 'term,explanation\na,"b\nc"\nd', "line 4: it has 1 fields, the header has 2"),
        ("t.csv", 'term,explanation\na,"b\nc', "line 2: it is not CSV: unexpected end of data"),
        ("t.csv", "term,explanation\na,\n", "line 2: 'a' has no explanation"),
        ("t.csv", "term,explanation\n,a\n", "line 2: it has no term"),
        ("t.csv", "term,explanation\na,b\nfür,c".encode("cp1252"), "line 3: it is not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, name: str, content: str | bytes, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, name, content)

    assert str(caught.value).startswith(f"GLOSSARY_FILE='{tmp_path / name}', {reason}")


def test_a_file_that_is_too_large_or_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^GLOSSARY_FILE=.*: it is larger than 1,000,000 bytes$"):
        read(tmp_path, "t.yaml", "#" * (LARGEST_FILE + 1))
    with pytest.raises(SettingsError, match=r"^GLOSSARY_FILE=.*: No such file or directory$"):
        read_glossary(tmp_path / "none.csv")


@given(content=st.binary() | st.text('ab:,"\n{}[]-#&*|>!%@').map(str.encode), name=st.sampled_from(["t.csv", "t.yaml"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_file_it_is_read_or_refused(tmp_path: Path, content: bytes, name: str) -> None:
    try:
        terms = read(tmp_path, name, content)
    except SettingsError:
        return

    assert all(term.name and term.explanation for term in terms)
