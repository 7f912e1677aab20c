from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.network.recording import Recording


def recording(**changes: Any) -> Recording:
    fields: dict[str, Any] = {
        "backend": "reference",
        "network_digest": "a" * 64,
        "input_digest": "b" * 64,
        "counts": {
            "conv 1": np.arange(3 * 2 * 2 * 2, dtype=np.int32).reshape(3, 2, 2, 2),
            "fc": np.arange(12, dtype=np.int32).reshape(3, 4),
        },
        "output": np.array([[5, -7], [0, 3], [2, 2]], dtype=np.int32),
        "readout": "potential",
        "prediction": np.array([0, 1, 0]),
        "label": np.array([0, 1, 1]),
        "synops": {"conv 1": np.array([10, 20, 30]), "fc": np.array([1, 2, 6])},
        "peak": {"fc": 12},
        "seconds": 0.5,
    }
    return Recording(**(fields | changes))


def saved(path: Path, **changes: Any) -> dict[str, np.ndarray[Any, Any]]:
    recording(**changes).save(path)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_length_accuracy_and_synops_are_those_of_the_samples() -> None:
    made = recording()
    assert len(made) == 3
    assert made.accuracy == pytest.approx(2 / 3)
    assert made.synops_per_sample == (10 + 20 + 30 + 1 + 2 + 6) / 3


def test_there_is_no_accuracy_without_labels() -> None:
    assert recording(label=None).accuracy is None


def test_mappings_are_read_only_copies() -> None:
    counts = {"fc": np.ones((3, 4), np.int32)}
    made = recording(counts=counts)
    counts["other"] = counts["fc"]
    assert list(made.counts) == ["fc"]
    with pytest.raises(TypeError, match="does not support item assignment"):
        made.counts["fc"] = np.zeros((3, 4), np.int32)  # type: ignore[index]


def test_the_file_holds_every_array_as_it_was(tmp_path: Path) -> None:
    made, arrays = recording(), saved(tmp_path / "run.npz")
    expected = {
        "counts/conv 1": made.counts["conv 1"],
        "counts/fc": made.counts["fc"],
        "synops/conv 1": made.synops["conv 1"],
        "synops/fc": made.synops["fc"],
        "potential": made.output,
        "prediction": made.prediction,
        "label": made.label,
    }
    for name, array in expected.items():
        assert array is not None
        assert arrays[name].dtype == array.dtype
        assert arrays[name].tolist() == array.tolist()
    texts = {"backend": "reference", "network_digest": "a" * 64, "input_digest": "b" * 64}
    assert {name: str(arrays[name]) for name in texts} == texts
    assert int(arrays["format_version"]) == 1
    assert set(arrays) == {*expected, *texts, "format_version"}


def test_what_a_backend_saw_beside_its_results_is_in_the_file(tmp_path: Path) -> None:
    state = np.arange(-6, 6, dtype=np.int32).reshape(3, 4)
    arrays = saved(
        tmp_path / "run.npz",
        saturation={"fc": np.array([0, 2, 5])},
        final_state={"fc": state},
        parameter_digest={"conv 1": "c" * 64, "fc": "d" * 64},
    )
    assert arrays["saturation/fc"].tolist() == [0, 2, 5]
    assert arrays["final_state/fc"].dtype == np.int32
    assert arrays["final_state/fc"].tolist() == state.tolist()
    assert str(arrays["parameter_digest/conv 1"]) == "c" * 64
    assert str(arrays["parameter_digest/fc"]) == "d" * 64
    assert int(arrays["format_version"]) == 1


def test_a_counted_readout_is_not_called_a_potential(tmp_path: Path) -> None:
    arrays = saved(tmp_path / "run.npz", readout="count")
    assert arrays["output_count"].tolist() == recording().output.tolist()
    assert "potential" not in arrays


def test_a_file_without_labels_says_so_by_having_none(tmp_path: Path) -> None:
    arrays = saved(tmp_path / "run.npz", label=None)
    assert "label" not in arrays
    assert arrays["prediction"].tolist() == [0, 1, 0]


def test_the_name_of_the_file_is_kept_as_it_is_given(tmp_path: Path) -> None:
    saved(tmp_path / "run.recording")
    assert [path.name for path in tmp_path.iterdir()] == ["run.recording"]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.npz"
    path.write_text("old")

    def fail_half_way(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise MemoryError

    monkeypatch.setattr(np, "savez_compressed", fail_half_way)
    with pytest.raises(MemoryError):
        recording().save(path)
    assert [found.name for found in tmp_path.iterdir()] == ["run.npz"]
    assert path.read_text() == "old"


def test_a_folder_in_the_way_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is a folder; give the name of a file") as caught:
        recording().save(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")
