from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.evaluation.foreign import read_annotations, score_foreign
from model.evaluation.result_formats import (
    FORMATS,
    Result,
    check_format,
    check_names,
    find_format,
    read_result,
    result_names,
    write_result,
)

BOXES = np.array([[10, 20, 30, 40], [11.25, 20.5, 30, 40], [12, 21, 29.75, 41]])
TIMES = np.array([0.5, 0.01, 0.03])


def needs_scipy(name: str) -> None:
    if name == "matlab":
        pytest.importorskip("scipy")


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    needs_scipy(name)
    write_result(name, tmp_path, "car1", Result(BOXES, TIMES))
    assert find_format(tmp_path) == name
    assert result_names(tmp_path) == ["car1"]
    found = read_result(name, tmp_path, "car1")
    tolerance = 0.5 if name == "pytracking" else 1e-6
    assert found.boxes == pytest.approx(BOXES, abs=tolerance)
    if name == "matlab":
        assert found.times_s == pytest.approx(np.full(3, 0.02))
    elif name == "pysot":
        assert found.times_s is None
    else:
        assert found.times_s == pytest.approx(TIMES)


def test_the_files_look_as_their_toolkits_write_them(tmp_path: Path) -> None:
    for name in ("pysot", "got10k", "pytracking"):
        write_result(name, tmp_path / name, "car1", Result(BOXES, TIMES))
    lines = (tmp_path / "pysot" / "car1.txt").read_text().splitlines()
    assert lines[1] == "11.2500,20.5000,30.0000,40.0000"
    lines = (tmp_path / "got10k" / "car1" / "car1_001.txt").read_text().splitlines()
    assert lines[1] == "11.250,20.500,30.000,40.000"
    assert (tmp_path / "got10k" / "car1" / "car1_time.txt").read_text().startswith("0.50000000\n")
    lines = (tmp_path / "pytracking" / "car1.txt").read_text().splitlines()
    assert lines[0] == "10\t20\t30\t40"


def test_matlab_counts_from_one(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    write_result("matlab", tmp_path, "car1", Result(BOXES, TIMES))
    raw = io.loadmat(tmp_path / "car1.mat", squeeze_me=True, struct_as_record=False)["results"]
    assert raw.res[0].tolist() == [11, 21, 30, 40]
    assert (raw.type, raw.len, raw.startFrame, raw.annoBegin) == ("rect", 3, 1, 1)


def test_matlab_files_of_others(tmp_path: Path) -> None:
    io = pytest.importorskip("scipy.io")
    io.savemat(tmp_path / "car1_KCF.mat", {"results": {"type": "rect", "res": BOXES + 1}})
    assert read_result("matlab", tmp_path, "car1").boxes[0].tolist() == [10, 20, 31, 41]
    check_names(tmp_path, ["car1"])
    io.savemat(tmp_path / "a.mat", {"other": 1})
    with pytest.raises(InputError, match=r"a\.mat: expected a struct results.*found other"):
        read_result("matlab", tmp_path, "a")
    io.savemat(tmp_path / "b.mat", {"results": {"type": "ivtAff", "res": np.ones((3, 6))}})
    with pytest.raises(InputError, match=r"N x 4, found type ivtAff, \(3, 6\)"):
        read_result("matlab", tmp_path, "b")
    (tmp_path / "c.mat").write_bytes(b"not a mat file")
    with pytest.raises(InputError, match=r"c\.mat: expected a MATLAB file"):
        read_result("matlab", tmp_path, "c")


def test_times_of_our_runs_are_read(tmp_path: Path) -> None:
    write_result("pysot", tmp_path, "car1", Result(BOXES))
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "car1.txt").write_text("0.5\n0.01\n0.03\n")
    assert read_result("pysot", tmp_path, "car1").times_s == pytest.approx(TIMES)


def test_odd_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        find_format(tmp_path / "none")
    with pytest.raises(InputError, match="found none"):
        find_format(tmp_path)
    with pytest.raises(InputError, match="'csv': expected one of pysot"):
        check_format("csv")
    (tmp_path / "car1.txt").write_bytes(b"\xff\xfe1")
    with pytest.raises(InputError, match=r"car1\.txt: expected UTF-8 text"):
        find_format(tmp_path)


def test_times_of_another_length(tmp_path: Path) -> None:
    write_result("got10k", tmp_path, "car1", Result(BOXES, TIMES))
    (tmp_path / "car1" / "car1_time.txt").write_text("0.1\n0.2\n")
    with pytest.raises(InputError, match=r"car1_time\.txt: expected 3 times.*found 2"):
        read_result("got10k", tmp_path, "car1")


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    folder = tmp_path / "set" / "anno"
    (folder / "att").mkdir(parents=True)
    for name in ("car1", "car2"):
        (folder / f"{name}.txt").write_text("10,20,30,40\n11,20,30,40\n12,21,30,41\n")
        (folder / "att" / f"{name}.txt").write_text("1,0,0,0,0,0,0,0,0,0,1\n")
    return folder


@pytest.mark.parametrize("name", FORMATS)
def test_results_made_elsewhere_are_scored(tmp_path: Path, annotations: Path, name: str) -> None:
    needs_scipy(name)
    for sequence in ("car1", "car2"):
        write_result(name, tmp_path / "T", sequence, Result(np.round(BOXES), TIMES))
    sequences = read_annotations(annotations, "DTB70")
    assert sequences[0].attributes == {"SV", "MB"}
    scored = score_foreign("T", tmp_path / "T", sequences)
    assert [s.score.precision_at_20 for s in scored] == [1, 1]
    assert scored[0].sequence.dataset == "DTB70"


def test_other_names_and_lengths_are_told(tmp_path: Path, annotations: Path) -> None:
    sequences = read_annotations(annotations)
    write_result("pysot", tmp_path / "T", "car1", Result(BOXES))
    write_result("pysot", tmp_path / "T", "bus", Result(BOXES))
    with pytest.raises(InputError, match=r"of 2 sequences, found no 'car2' \(1 missing; .*'bus'\)"):
        score_foreign("T", tmp_path / "T", sequences)
    write_result("pysot", tmp_path / "T", "car2", Result(BOXES[:2]))
    with pytest.raises(InputError, match=r"car2\.txt: expected 3 boxes, one a frame, found 2"):
        score_foreign("T", tmp_path / "T", sequences)
    padded = score_foreign("T", tmp_path / "T", sequences, pad=True)
    assert padded[1].score.success[0] == pytest.approx(2 / 3)
