"""Transfers between slices, read from the text of a program; and the committed figures."""

import json

from benchmarks.record import RESULTS
from benchmarks.slices import between_slices

SEND = '(%x, %token), is_host_transfer=true, frontend_attributes={_xla_megascale_transfer_type="%s"}'
TEXT = f"""
%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {{
  %send.1 = (f32[4,8]{{1,0:T(8,128)}}, u32[], token[]) send{SEND.replace("%s", "ONE_TO_ONE")}
}}

%condition (p: (s32[], f32[4,8])) -> pred[] {{
  %bound = s32[] constant(3)
  ROOT %less = pred[] compare(%count, %bound), direction=LT
}}

ENTRY %main (p: f32[4,8]) -> f32[4,8] {{
  %send.2 = (bf16[4,16]{{1,0}}, u32[], token[]) send{SEND.replace("%s", "ALL_REDUCE")}
  %all-gather.1 = f32[4,8]{{1,0}} all-gather(%x), replica_groups={{{{0,1}}}}
  %while.1 = (s32[], f32[4,8]) while(%tuple), condition=%condition, body=%body
}}
"""


def test_transfers_are_counted_in_every_turn_of_a_loop_and_collectives_within_slices_are_not() -> None:
    expected = {"all-reduce": {"count": 1, "bytes": 128}, "collective-permute": {"count": 3, "bytes": 384}}
    assert between_slices(TEXT) == expected


def test_committed_gradients_are_reduced_within_a_slice_first() -> None:
    """A chip of two slices of four sends a quarter of the weights' gradient, of 64 KiB, to the other slice."""
    (path,) = RESULTS.glob("slices-*.json")
    rows = {(row["machine"], row["program"]): row for row in json.loads(path.read_text())["rows"]}
    for execution in ("gathered", "ring"):
        row = rows["2xv5e:2x2", f"pairs, {execution}"]
        assert row["within"]["reduce-scatter"] == {"count": 1, "bytes": 2**14}
        assert 2**14 <= row["between"]["all-reduce"]["bytes"] < 2**14 + 2**10
        assert rows["v5e:2x2", f"pairs, {execution}"]["between"] == {}
