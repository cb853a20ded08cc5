"""The plain form of the view of reports: whole sentences that fit, between special tokens."""

import torch
from torch import Tensor


def report(texts: Tensor, max_tokens: int, special: Tensor | None) -> Tensor:
    """Return the whole sentences of texts [N, T, 2] that fit into `max_tokens`, renumbered from 0.

    A first sentence that is too long is itself cut. Behind the end, token and sentence are -1.

    Args:
      texts: token and sentence.
      max_tokens: with the special tokens.
      special: the tokens [2] before and behind the text, whose sentence is -1; None for none.
    """
    length = texts.shape[1]
    room = min(max_tokens - (0 if special is None else 2), length)
    mask, stored = texts[..., 0] >= 0, texts[..., 1]
    before = torch.nn.functional.pad(stored, (1, 0), value=-1)[:, :-1]
    number = (mask & (stored != before)).cumsum(1) - 1  # of the token's sentence
    kept = mask & (torch.arange(length, device=texts.device) < room)
    if room < length:
        # The sentence of the first token that has no room is left out, unless it is the first sentence.
        kept &= (number < number[:, room, None]) | (number == 0) | ~mask[:, room, None]
    body = torch.stack([texts[..., 0], number.to(texts.dtype)], -1).masked_fill(~kept[..., None], -1)[:, :room]
    if special is None:
        return body
    count = kept.sum(1)
    body = torch.nn.functional.pad(body, (0, 0, 1, 1), value=-1)
    body[:, 0, 0] = special[0]
    body[torch.arange(len(body)), count + 1, 0] = special[1].to(body.dtype)
    return body.masked_fill((count == 0)[:, None, None], -1)
