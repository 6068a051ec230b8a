import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dcsh_pg import codes
from dcsh_pg.errors import UsageError

packed = hnp.arrays(np.uint8, st.tuples(st.integers(1, 8), st.just(8)))


def test_the_first_value_is_the_most_significant_bit_and_zero_counts_as_one():
    z = np.full((1, 16), -1.0)
    z[0, 0] = 0.0
    z[0, 15] = 3.0
    assert codes.from_real(z).tolist() == [[0b10000000, 0b00000001]]
    assert codes.to_text(codes.from_real(z)[0]) == "1000000000000001"


@given(packed)
def test_text_and_hex_bring_the_code_back(batch):
    for code in batch:
        assert codes.from_text(codes.to_text(code)).tolist() == code.tolist()
        assert codes.from_text("0x" + codes.to_hex(code)).tolist() == code.tolist()


@given(packed, packed)
def test_hamming_counts_differing_bits(a, b):
    bits_a, bits_b = codes.unpack(a), codes.unpack(b)
    expected = [[int((x != y).sum()) for y in bits_b] for x in bits_a]
    assert codes.hamming(a, b).tolist() == expected


@given(packed, packed, hnp.arrays(np.uint8, 8))
def test_a_mask_over_all_codes_changes_no_distance(a, b, mask):
    assert (codes.hamming(a ^ mask, b ^ mask) == codes.hamming(a, b)).all()


@pytest.mark.parametrize("text", ["", "01", "xyz", "0x12", "0101010", "12 zz"])
def test_what_is_no_code_is_refused(text):
    with pytest.raises(UsageError):
        codes.from_text(text)


@pytest.mark.parametrize("bits", [0, 8, 20, 1032])
def test_lengths_that_no_code_has_are_refused(bits):
    with pytest.raises(UsageError, match=str(bits)):
        codes.check_bits(bits)


def test_codes_of_two_lengths_cannot_be_compared():
    with pytest.raises(UsageError, match="16 and 32"):
        codes.hamming(np.zeros((1, 2), np.uint8), np.zeros((1, 4), np.uint8))
