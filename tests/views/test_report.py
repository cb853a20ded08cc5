"""The report view: the law of its swaps, whole sentences, special tokens."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.kinds.text import SPECIAL, special_tokens, words_by_sentence
from mmcl_jax.encoders.model import view_specs
from mmcl_jax.errors import UserError
from mmcl_jax.views import VIEWS, View, view_shape
from mmcl_jax.views.text import text_hash

pytestmark = pytest.mark.core

DRAWS = 4000
KEYS = jax.random.split(jax.random.key(0), DRAWS)
FITTED = {"tokens": jnp.ones(40, bool), "unknown": jnp.int32(1), "special_tokens": jnp.array([2, 3], jnp.int32)}


def build(**options: object) -> View:
    return VIEWS.build(VIEWS.spec("report", **options), "config.views.report")


def text(*lengths: int, pad: int = 0) -> np.ndarray:
    """A text of sentences of these lengths, whose tokens are 10, 11 and so on."""
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    stored = np.stack([10 + np.arange(len(sentence)), sentence], axis=1)
    return np.concatenate([stored, np.full((pad, 2), -1)]).astype(np.int32)


def plain(stored: np.ndarray, **options: object) -> list[list[int]]:
    return np.asarray(build(**options)(stored[None], train=False, **FITTED).values)[0].tolist()


def trained(stored: np.ndarray, **options: object) -> np.ndarray:
    return np.asarray(build(**options)(np.broadcast_to(stored, (DRAWS, *stored.shape)), KEYS, **FITTED).values)


def test_the_plain_form_is_the_stored_order_between_special_tokens() -> None:
    expected = [[2, -1], [10, 0], [11, 0], [12, 1], [3, -1], [-1, -1], [-1, -1]]
    assert plain(text(2, 1, pad=2)) == expected
    assert plain(text(2, 1, pad=2), special_tokens=False) == [*expected[1:4], [-1, -1], [-1, -1]]
    stored = text(2, 1, pad=2)
    stored[2, 1] = 7  # a sentence between them had no tokens
    assert plain(stored) == expected


def test_a_text_without_tokens_has_no_special_tokens() -> None:
    assert (np.array(plain(text(pad=3))) == -1).all()
    assert (trained(text(pad=3)) == -1).all()


@pytest.mark.parametrize(
    ("lengths", "room", "kept"),
    [
        ((2, 3, 2), 7, 7),
        ((2, 3, 2), 6, 5),
        ((2, 3, 1), 4, 2),  # the third would fit, and the second does not
        ((4, 1), 3, 3),  # the first is cut
        ((4, 1), 4, 4),
        ((1,), 1, 1),
    ],
)
def test_whole_sentences_are_kept_until_the_first_that_does_not_fit(
    lengths: tuple[int, ...], room: int, kept: int
) -> None:
    stored = text(*lengths, pad=1)
    end = [[3, -1]] + [[-1, -1]] * (room - kept)
    assert plain(stored, max_tokens=room + 2) == [[2, -1], *stored[:kept].tolist(), *end]
    assert plain(stored, max_tokens=room, special_tokens=False) == [*stored[:kept].tolist(), *end[1:]]


def test_orders_follow_the_law_of_geometric_swaps() -> None:
    """Against the exact law: a swap of two independent indices is none with the probability 1/3 for three sentences."""
    seen = trained(text(1, 2, 1, pad=1), swaps=0.6)
    orders = Counter()
    for tokens in seen:
        assert tokens[:, 1].tolist() == [-1, *sorted(tokens[1:5, 1]), -1, -1]  # numbered in the order of the view
        order = tuple(dict.fromkeys({10: 0, 11: 1, 12: 1, 13: 2}[token] for token in tokens[1:5, 0]))
        at = tokens[:, 0].tolist()
        assert at.index(12) == at.index(11) + 1
        orders[order] += 1
    step = dict.fromkeys(orders, 0.0)
    chance, law = {(0, 1, 2): 1.0}, dict(step)
    for n in range(60):
        following = dict(step)
        for order, p in chance.items():
            law[order] += 0.4 * 0.6**n * p
            for first in range(3):
                for second in range(3):
                    swapped = list(order)
                    swapped[first], swapped[second] = swapped[second], swapped[first]
                    following[tuple(swapped)] += p / 9
        chance = following
    assert len(orders) == 6
    for order, p in law.items():
        assert abs(orders[order] / DRAWS - p) < 4.5 * np.sqrt(p * (1 - p) / DRAWS), (order, p)


def test_the_cut_follows_the_swaps() -> None:
    first = trained(text(2, 2, 2), swaps=0.9, max_tokens=4)[:, 1, 0]
    assert set(first.tolist()) == {10, 12, 14}
    assert (trained(text(2, 2, 2), swaps=0.0, max_tokens=4)[:, 1, 0] == 10).all()


def test_one_sentence_is_drawn_uniformly_and_the_plain_form_has_all() -> None:
    seen = trained(text(1, 2, 3, pad=2), sentences="one")
    lengths = Counter((seen[..., 1] == 0).sum(axis=1).tolist())
    assert set(lengths) == {1, 2, 3}
    for count in lengths.values():
        assert abs(count / DRAWS - 1 / 3) < 0.035
    assert ((seen[..., 0] == 3).sum(axis=1) == 1).all()
    assert plain(text(1, 2, 3), sentences="one") == plain(text(1, 2, 3))


def test_a_view_depends_on_its_own_key_and_drops_before_it_cuts() -> None:
    view, stored = build(drop=0.5), np.broadcast_to(text(3, 2, 4), (6, 9, 2))
    whole = np.asarray(view(stored, KEYS[:6], **FITTED).values)
    for row in (0, 5):
        np.testing.assert_array_equal(view(stored[:1], KEYS[row : row + 1], **FITTED).values[0], whole[row])
    assert len({len(tokens[tokens[:, 1] >= 0]) for tokens in whole}) > 1


def test_tokens_of_no_training_row_are_unknown() -> None:
    fitted = {**FITTED, "tokens": jnp.arange(40) != 11}
    assert np.asarray(build()(text(3)[None], train=False, **fitted).values)[0, :, 0].tolist() == [2, 10, 1, 12, 3]


def test_a_vocabulary_without_special_tokens_is_refused_by_name() -> None:
    spec = InputSpec(kind="text", shape=(5, 2), dtype="int32", widths=(40,))
    with pytest.raises(ValueError, match=r"the vocabulary of 'report' has no \[CLS\] or no \[SEP\]; make the store"):
        view_shape(build(), spec)
    config = ConfigDict({"views": {"report": VIEWS.spec("report")}})
    with pytest.raises(UserError, match=r"config\.views\.report: the vocabulary of 'report' has no \[CLS\]"):
        view_specs(config, {"report": spec})
    assert view_shape(build(special_tokens=False), spec) == (5, 2)
    assert view_shape(build(max_tokens=6), InputSpec(**{**vars(spec), "special_tokens": True})) == (6, 2)
    assert view_shape(build(), InputSpec(**{**vars(spec), "special_tokens": True})) == (7, 2)


def test_equal_texts_have_one_number_and_others_differ() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.integers(0, 40, (3000, 6)), np.zeros((3000, 6), int)], axis=-1).astype(np.int32)
    drawn[::2, 4:] = -1
    numbers = np.asarray(text_hash(jnp.asarray(drawn)))
    distinct = {tuple(row[row >= 0].tolist()) for row in drawn[..., 0]}
    assert len(set(numbers.tolist())) == len(distinct)
    longer = np.concatenate([drawn, np.full((3000, 5, 2), -1, np.int32)], axis=1)
    longer[..., 1] = np.where(longer[..., 0] >= 0, 3, -1)
    np.testing.assert_array_equal(text_hash(jnp.asarray(longer)), numbers)
    zeros = np.zeros((3, 4, 2), np.int32)
    zeros[1, 2:], zeros[2, :] = -1, -1
    assert len(set(np.asarray(text_hash(jnp.asarray(zeros))).tolist())) == 3


def test_special_tokens_and_words_of_a_vocabulary() -> None:
    assert special_tokens(SPECIAL).tolist() == [2, 3]
    assert special_tokens(("[UNK]", "[CLS]")).shape == (0,)
    assert words_by_sentence(np.array([[2, -1], [0, 0], [3, -1]]), ("▁the▁", "a", "[CLS]", "[SEP]")) == ["the"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"swaps": 1.0}, r"swaps must lie in \[0, 1\), not 1.0"),
        ({"drop": -0.1}, r"drop must lie in \[0, 1\), not -0.1"),
        ({"max_tokens": 2}, "max_tokens must be more than 2, not 2"),
        ({"sentences": "two"}, "sentences"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=f"config.views.report.*{sentence}"):
        build(**options)
