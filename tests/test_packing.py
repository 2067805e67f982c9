import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters, real_rows
from sparbor.packing.slots import BRANCH, NEURON_BLOCK, SLOT_ENCODINGS, Encoding, pack
from sparbor.packing.words import balanced_words, nearest_words
from tests.layers import random_mask, random_weight, slot_mask

SHAPES = [(16, 32), (256, 784), (10, 256), (1, 1), (17, 33), (5, 100), (48, 31)]


def word_values(words: np.ndarray) -> np.ndarray:
    return words.view(np.float16).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_exact_weights_come_back_as_they_were(shape, density, make_mask):
    rng = np.random.default_rng(1)
    weight, mask = random_weight(rng, *shape), make_mask(rng, *shape, density)
    layer = pack(weight, mask, encoding=Encoding.EXACT)
    unpacked, found = layer.unpack()
    np.testing.assert_array_equal(unpacked, np.where(mask, weight, 0))
    np.testing.assert_array_equal(found, mask)
    assert layer.active == mask.sum()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_words_keep_the_mask_and_each_weight_within_a_64th(shape, density, make_mask):
    rng = np.random.default_rng(2)
    weight, mask = random_weight(rng, *shape), make_mask(rng, *shape, density)
    unpacked, found = pack(weight, mask).unpack()
    np.testing.assert_array_equal(found, mask)
    largest = np.abs(np.where(mask, weight, 0)).max(axis=1, keepdims=True)
    smallest_normal = 2.0**-14 * largest / 2**14
    error = np.abs(unpacked - np.where(mask, weight, 0))
    assert (error <= np.maximum(np.abs(weight) / 64, smallest_normal / 64)).all()


@given(st.lists(st.tuples(st.floats(-1e5, 1e5, width=32), st.integers(0, BRANCH - 1)), min_size=1, max_size=50))
@settings(deadline=None, max_examples=50)
def test_the_chosen_word_is_the_nearest_of_all(pairs):
    values = np.array([value for value, _ in pairs], np.float32)
    index = np.array([index for _, index in pairs])
    words = nearest_words(values, index)
    for value, which, word in zip(values, index, words, strict=True):
        every = (np.arange(2**11) << 5 | which).astype(np.uint16)
        every = every[np.isfinite(word_values(every))]
        assert word % BRANCH == which
        assert word != 0
        least = np.abs(word_values(every).astype(np.float64) - value).min()
        assert abs(float(word_values(word[None])[0]) - value) == pytest.approx(least, abs=1e-12, rel=1e-6)


def test_words_saturate_and_a_zero_weight_is_no_padding():
    index = np.array([0, 31, 0])
    words = nearest_words(np.array([1e30, -1e30, 0.0], np.float32), index)
    np.testing.assert_array_equal(words, np.array([0x7BE0, 0xFBFF, 0x8000], np.uint16))


def sums_of_errors(words: np.ndarray, values: np.ndarray, neuron: np.ndarray) -> np.ndarray:
    return np.abs(np.bincount(neuron, word_values(words).astype(np.float64) - values))


SYNAPSES = st.tuples(st.integers(0, 3), st.floats(-32767, 32767, width=32), st.integers(0, BRANCH - 1))


@given(st.lists(SYNAPSES, min_size=1, max_size=60))
@settings(deadline=None, max_examples=100)
def test_balanced_words_are_the_nearest_or_within_a_64th_and_their_errors_add_up_to_no_more(synapses):
    neuron, values, index = map(np.array, zip(*sorted(synapses), strict=True))
    values = values.astype(np.float32)
    words, nearest = balanced_words(values, index, neuron), nearest_words(values, index)
    np.testing.assert_array_equal(words % BRANCH, index)
    assert words.all()
    flipped = words != nearest
    assert (np.abs(word_values(words) - values)[flipped] <= np.abs(values[flipped]) / 64).all()
    balanced, before = sums_of_errors(words, values, neuron), sums_of_errors(nearest, values, neuron)
    assert (balanced <= before * (1 + 1e-6)).all()


def test_the_words_that_flip_are_those_nearest_to_half_way_and_no_more_than_shrink_the_sum():
    step = 1 / 32
    values = np.array([1.5 + 0.3 * step] * 5 + [1.5 + 0.45 * step] * 5 + [1.5 + 0.1 * step], np.float32)
    errors = word_values(balanced_words(values, np.zeros(11, int), np.zeros(11, int))) - values
    # Of the sum, -3.85 steps, four flips leave 0.15; all four are among the five that cost least.
    np.testing.assert_allclose(errors / step, [-0.3] * 5 + [0.55] * 4 + [-0.45, -0.1], atol=1e-5)


def test_packing_all_but_cancels_each_neurons_errors_and_leaves_their_size():
    rng = np.random.default_rng(9)
    weight, mask = random_weight(rng, 64, 2048), random_mask(rng, 64, 2048, 0.2)
    rows, columns = np.nonzero(mask)
    index, kept = columns % BRANCH, weight[rows, columns]
    to_words = np.float32(2**14)  # the weights are less than 1
    nearest = word_values(nearest_words(kept * to_words, index)) / to_words
    packed = pack(weight, mask).unpack()[0][rows, columns]
    assert np.abs(np.bincount(rows, packed - kept)).mean() < 0.1 * np.abs(np.bincount(rows, nearest - kept)).mean()
    assert np.linalg.norm(packed - kept) < 1.02 * np.linalg.norm(nearest - kept)


def test_weights_that_a_word_holds_exactly_and_active_zeros_are_left():
    rng = np.random.default_rng(10)
    weight, mask = random_weight(rng, 32, 320), random_mask(rng, 32, 320, 0.5)
    weight[:, :64] = pack(weight, mask).unpack()[0][:, :64]
    weight[:, 64:96] = 0
    unpacked, found = pack(weight, mask).unpack()
    np.testing.assert_array_equal(unpacked[:, :64], np.where(mask, weight, 0)[:, :64])
    np.testing.assert_array_equal(found, mask)
    assert (np.abs(unpacked[:, 64:96]) <= 31 * 2.0**-24 * np.abs(weight).max() / 2**14).all()


def test_weights_of_any_magnitude_use_the_half_range():
    weight = np.array([[1e-30, 2e-30], [1e30, 3e30], [0, 0], [1e-44, 0]], np.float32)
    unpacked, _ = pack(weight, np.ones(weight.shape, bool)).unpack()
    np.testing.assert_allclose(unpacked[:2], weight[:2], rtol=1 / 64)
    np.testing.assert_allclose(unpacked[2:], weight[2:], atol=1e-44)


def test_slot_shaped_masks_have_no_padding_and_others_do():
    rng = np.random.default_rng(3)
    for outputs, fan_in in SHAPES:
        weight = random_weight(rng, outputs, fan_in)
        assert not pack(weight, slot_mask(rng, outputs, fan_in, 0.2)).padded
    mask = np.ones((16, 32), bool)
    mask[3, 7] = False
    assert pack(random_weight(rng, 16, 32), mask).padded


def test_branches_of_a_group_are_ordered_by_slot_count():
    rng = np.random.default_rng(4)
    mask = slot_mask(rng, 160, 700, 0.2)
    layout = pack(random_weight(rng, 160, 700), mask).layout
    first = 0
    for group, runs in enumerate(layout.runs_per_group):
        slots = layout.run_slots[first : first + runs]
        assert (np.diff(slots.astype(int)) > 0).all()
        listed = layout.run_branches[first : first + runs].sum()
        rows = np.zeros((NEURON_BLOCK, 704), bool)
        rows[:, :700] = mask[group * NEURON_BLOCK : (group + 1) * NEURON_BLOCK]
        assert listed == rows.reshape(NEURON_BLOCK, -1, BRANCH).any(axis=(0, 2)).sum()
        first += runs
    assert layout.slots == mask.sum() / NEURON_BLOCK


def test_stored_bytes_at_ninety_percent():
    rng = np.random.default_rng(5)
    dense = stored = 0
    for fan_in, outputs in [(784, 256), (256, 256), (256, 10)]:
        counts = np.full((-(-outputs // 16), -(-fan_in // 32)), 3)
        counts[rng.random(counts.shape) < 0.2] += 1
        mask = np.arange(32)[None, None, None] < counts[:, None, :, None]
        mask = np.broadcast_to(mask, (len(counts), 16, counts.shape[1], 32))
        mask = mask.reshape(len(counts) * 16, -1)[:outputs, :fan_in]
        layer = pack(random_weight(rng, outputs, fan_in), mask, np.zeros(outputs, np.float32))
        dense += outputs * fan_in * 4
        stored += sum(array.nbytes for array in layer.arrays().values())
    assert stored <= dense / 16


def test_dense_panels_come_back():
    rng = np.random.default_rng(6)
    for outputs, fan_in in SHAPES:
        weight = random_weight(rng, outputs, fan_in)
        unpacked, mask = pack_dense(weight).unpack()
        np.testing.assert_array_equal(unpacked, weight)
        assert mask.all()
        halves, _ = pack_dense(weight, None, Encoding.WORD16).unpack()
        np.testing.assert_allclose(halves, weight, rtol=2**-11, atol=1e-9)


@pytest.mark.parametrize(
    ("weight", "mask", "bias", "text"),
    [
        (np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), bool), None, r"\(outputs, fan_in\)"),
        (np.zeros((0, 4), np.float32), np.zeros((0, 4), bool), None, "neither of them 0"),
        (np.zeros((2, 4)), np.zeros((2, 4), bool), None, "float64"),
        (np.zeros((2, 4), np.float32), np.zeros((2, 4), np.uint8), None, "mask uint8"),
        (np.zeros((2, 4), np.float32), np.zeros((4, 2), bool), None, "must be equal"),
        (np.zeros((2, 4), np.float32), np.zeros((2, 4), bool), np.zeros(3, np.float32), "one an output"),
        (np.full((2, 4), np.nan, np.float32), np.ones((2, 4), bool), None, "weight holds NaN or infinity"),
        (
            np.zeros((2, 4), np.float32),
            np.ones((2, 4), bool),
            np.array([0, np.inf], np.float32),
            "bias holds NaN or infinity",
        ),
    ],
)
def test_what_cannot_be_packed_is_named(weight, mask, bias, text):
    with pytest.raises(ArgumentError, match=text):
        pack(weight, mask, bias)


def test_a_weight_that_is_not_kept_may_be_anything():
    weight = np.array([[np.nan, 1.0]], np.float32)
    unpacked, _ = pack(weight, np.array([[False, True]])).unpack()
    np.testing.assert_array_equal(unpacked[0, 0], 0)


def test_filters_come_back():
    rng = np.random.default_rng(7)
    for outputs, fan_in in SHAPES:
        weight, bias = random_weight(rng, outputs, fan_in), np.ones(outputs, np.float32)
        exact, halves = pack_filters(weight, bias), pack_filters(weight, bias, Encoding.WORD16)
        np.testing.assert_array_equal(exact.unpack()[0], weight)
        np.testing.assert_allclose(halves.unpack()[0], weight, rtol=2**-11, atol=1e-9)
        assert exact.unpack()[1].all()
        assert exact.active == halves.active == outputs * fan_in
        assert sum(array.nbytes for array in exact.arrays().values()) == 4 * (weight.size + outputs)
        assert sum(array.nbytes for array in halves.arrays().values()) == 2 * weight.size + 8 * outputs


@pytest.mark.parametrize(("outputs", "groups"), [(40, 1), (40, 2), (48, 3), (32, 2), (6, 6)])
@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
def test_neurons_of_two_convolution_groups_never_share_a_slot(outputs, groups, encoding):
    rng = np.random.default_rng(8)
    weight, bias = random_weight(rng, outputs, 45), rng.standard_normal(outputs).astype(np.float32)
    mask = random_mask(rng, outputs, 45, 0.3)
    layer, real = pack_by_groups(weight, mask, bias, groups, encoding), real_rows(outputs, groups)
    assert (
        len(real)
        == layer.outputs
        == (outputs if groups == 1 else groups * (-(-outputs // groups // NEURON_BLOCK) * NEURON_BLOCK))
    )
    unpacked, found = layer.unpack()
    np.testing.assert_array_equal(found[real], mask)
    assert not found[~real].any()
    assert (layer.padding | layer.lanes(real)).all()
    tolerance = 0 if encoding is Encoding.EXACT else 1 / 64
    np.testing.assert_allclose(unpacked[real], np.where(mask, weight, 0), rtol=tolerance, atol=tolerance * 1e-4)
    np.testing.assert_array_equal(layer.bias[real], bias)
    assert np.flatnonzero(real).reshape(groups, -1)[:, 0].tolist() == [
        group * layer.outputs // groups for group in range(groups)
    ]


def test_only_real_neurons_can_be_padded():
    weight, mask = np.ones((20, 32), np.float32), np.ones((20, 32), bool)
    full = pack_by_groups(weight, mask, None, 2)
    assert full.padded
    assert not (full.padding & full.lanes(real_rows(20, 2))).any()
    mask[3, 5] = False
    holed = pack_by_groups(weight, mask, None, 2)
    assert (holed.padding & holed.lanes(real_rows(20, 2))).any()
    assert not (full.padding | full.lanes(np.zeros(32, bool))).all()
