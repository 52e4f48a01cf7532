"""The text that tells how a task ended its process. Columns: test_codec.py."""

import pytest

from scaler_protocol.batch import died_text, split_died_text


@pytest.mark.parametrize("tail", ["last\nwords\n", "€ \N{PILE OF POO}", "stderr_tail=3\nabc"])
@pytest.mark.parametrize("detail", ["it died", "", "in\ntwo lines", "a=b"])
def test_the_last_words_are_split_off_again(detail, tail):
    text = died_text("exit_code=3", detail, tail)
    assert split_died_text(text) == (f"exit_code=3\n{detail}", tail)


def test_without_last_words_nothing_is_added():
    assert died_text("exit_code=3", "it died") == "exit_code=3\nit died"
    assert split_died_text("exit_code=3\nit died") == ("exit_code=3\nit died", "")


@pytest.mark.parametrize(
    "text", ["", "x", "exit_code=3\nstderr_tail=", "exit_code=3\nstderr_tail=-1\nx", "a\nstderr_tail=²\nx"]
)
def test_other_texts_stay_as_they_are(text):
    assert split_died_text(text) == (text, "")


def test_a_length_that_is_too_large_takes_what_there_is():
    assert split_died_text("exit_code=3\nstderr_tail=99\nabc") == ("exit_code=3\n", "abc")
