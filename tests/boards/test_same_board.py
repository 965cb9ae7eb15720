"""A board that is not as it was: what is compared, and what the error says."""

import pytest

from hakd.boards import open_board
from hakd.records.errors import HakdError
from hakd.sweeping.same_board import refuse_change, seen


def test_a_change_of_board_engine_or_version_is_refused_with_all_names(local, tmp_path):
    with open_board(local(epoch=4), tmp_path / "store") as board:
        now = {
            "fingerprint": board.fingerprint,
            "engine": "onnxruntime",
            "engine_version": board.engine_version,
        }
        refuse_change(board, {})
        refuse_change(board, {"tiny.parquet": now, "other.parquet": now})
        older = {**now, "fingerprint": "0123456789abcdef", "engine_version": "1.0.0"}
        with pytest.raises(HakdError) as caught:
            refuse_change(board, {"tiny.parquet": now, "a.json": older, "b.json": older})
        text = str(caught.value)
        assert text.startswith(
            "device local: engine: has another engine than a.json (and 1 more) was made with: "
        )
        assert "onnxruntime 1.0.0 (fingerprint 0123456789abcdef) then" in text
        assert f"onnxruntime {board.engine_version} (fingerprint {board.fingerprint}) now" in text
        assert "`epoch: 5` for local" in text
        another = "is another board, or has other CPU features or another precision, than"
        with pytest.raises(HakdError, match=rf"{another} a\.json was made with"):
            refuse_change(board, {"a.json": {**now, "fingerprint": "0" * 16}})
        with pytest.raises(HakdError, match=r"has another engine than a\.json was made with: ncnn "):
            refuse_change(board, {"a.json": {**now, "engine": "ncnn"}})


def test_a_file_that_does_not_say_where_it_was_measured_is_refused():
    metadata = {"fingerprint": "0" * 16, "engine": "ncnn", "engine_version": "1.0", "seconds": 3.0}
    assert seen(metadata, "a") == {"fingerprint": "0" * 16, "engine": "ncnn", "engine_version": "1.0"}
    with pytest.raises(
        HakdError,
        match=r"a\.parquet: engine_version: does not say on which device it was measured\. Give another file",
    ):
        seen({**metadata, "engine_version": None}, "a.parquet")
