import pytest

from dcsh_pg.errors import InputError
from dcsh_pg.learning.data.captions import CAPTIONS, read_captions


def test_captions_are_the_lines_of_a_file_or_our_own(tmp_path):
    assert read_captions(None) == CAPTIONS and len(set(CAPTIONS)) == len(CAPTIONS)
    file = tmp_path / "captions.txt"
    file.write_text("a pond\n\n  two ships \n", "utf-8")
    assert read_captions(file) == ("a pond", "two ships")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"\n \n", "no texts"), (b"\xff\xfe", "not UTF-8")],
)
def test_files_of_no_captions_are_reported(tmp_path, content, words):
    file = tmp_path / "captions.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=words) as refused:
        read_captions(file)
    assert refused.value.hint
