"""What a command wrote beside its output is found, whatever the clock shows."""

import os
from pathlib import Path

import pytest

from mmcl_jax.bucket import border
from mmcl_jax.bucket.address import Address

pytestmark = pytest.mark.core


def test_files_beside_an_output_are_published_though_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[str] = []

    class Mirror:
        """A bucket that notes what it is given."""

        def __init__(self, address: Address) -> None:
            self.address, self.path = address, tmp_path / address.key
            self.objects = self

        def check_writable(self) -> None: ...

        def fetch(self, wanted: object) -> None: ...

        def publish(self, *, guarded: bool = False) -> None:
            published.append(self.address.key)

    monkeypatch.setattr(border, "Mirror", Mirror)
    (tmp_path / "rows.old.csv").write_text("of an earlier call")
    (tmp_path / "rows.unembedded.csv").write_text("of an earlier call")

    @border.addressed(writes=("out",))
    def embed(out: Path) -> None:
        out.write_text("rows")
        beside = out.with_name("rows.unembedded.csv")
        beside.write_text("refused")
        os.utime(beside, (0, 0))  # by a clock that was set back

    embed("s3://bucket/rows.parquet")
    assert published == ["rows.parquet", "rows.unembedded.csv"]
