from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from model.errors import InputError
from model.evaluation.attributes import DTB11, NAT12, UAV12, read_attributes, read_flags
from model.evaluation.crop511 import box_in_crop, read_crop511
from model.evaluation.data_check import check_dataset
from model.evaluation.datasets import DATASETS, find_dataset, is_test_set, read_dataset
from model.evaluation.layouts import UAV123_STARTS
from model.evaluation.sequences import DAY, NIGHT, ImageFrames, Sequence
from tests.model.evaluation.layouts import MakePictures, flags, put, put_boxes


def files_of(sequence: Sequence) -> list[str]:
    assert isinstance(sequence.frames, ImageFrames)
    return [path.name for path in sequence.frames.paths]


@pytest.mark.parametrize("name", ["UAVDark135", "DarkTrack2021", "NAT2021-test", "UAVDark70"])
def test_night_sets_with_data_seq(tmp_path: Path, make_pictures: MakePictures, name: str) -> None:
    truth = make_pictures(tmp_path / "data_seq" / "car1")
    put_boxes(tmp_path / "anno" / "car1.txt", truth)
    put(tmp_path / "anno" / "att" / "car1.txt", flags("FM", "LAI", among=NAT12))
    (sequence,) = read_dataset(name, tmp_path)
    assert (sequence.name, sequence.dataset, sequence.condition) == ("car1", name, NIGHT)
    assert files_of(sequence) == [f"{i:05d}.jpg" for i in range(1, 6)]
    assert np.array_equal(sequence.truth, truth)
    assert sequence.attributes == {"FM", "LAI"}
    assert len(list(sequence.frames)) == 5


def test_uavdark135_of_the_other_release(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "Sequences" / "bike", "%d.jpg", 11)
    put_boxes(tmp_path / "anno_revise" / "bike.txt", truth, " ")
    (sequence,) = read_dataset("uavdark135", tmp_path)
    assert files_of(sequence)[8:] == ["9.jpg", "10.jpg", "11.jpg"]


def test_uavdark135_of_mmot(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "walker" / "imgs")
    put_boxes(tmp_path / "walker" / "groundtruth_rect.txt", truth, "\t")
    put(tmp_path / "walker" / "attributes.txt", "1,0,0,1,0\n")
    (sequence,) = read_dataset("UAVDark135", tmp_path)
    assert sequence.attributes == {"VC", "OCC"}


def test_uav123_parts_start_where_they_should(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "data_seq" / "UAV123" / "car16", "%06d.jpg", 420)
    put_boxes(tmp_path / "anno" / "UAV123" / "car16_1.txt", truth[:415])
    put_boxes(tmp_path / "anno" / "UAV123" / "car16_2.txt", truth[414:])
    put_boxes(tmp_path / "anno" / "UAV20L" / "car16.txt", truth)
    put(tmp_path / "anno" / "UAV123" / "att" / "car16_2.txt", flags("SV", "SOB", among=UAV12))
    first, second = read_dataset("UAV123", tmp_path)
    assert files_of(first)[-1] == files_of(second)[0] == "000415.jpg"
    assert len(second) == 6
    assert second.attributes == {"SV", "SOB"}
    (long,) = read_dataset("UAV20L", tmp_path)
    assert (long.name, len(long), long.condition) == ("car16", 420, DAY)


def test_uav123_at_10fps_takes_every_third(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "data_seq" / "UAV123_10fps" / "car16", "%06d.jpg", 142)
    put_boxes(tmp_path / "anno" / "UAV123_10fps" / "car16_2.txt", truth[138:])
    (sequence,) = read_dataset("UAV123@10fps", tmp_path)
    assert files_of(sequence)[0] == "000139.jpg"
    assert all(start % 3 == 1 for starts in UAV123_STARTS.values() for start in starts)


def test_dtb70_and_otb(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "Jogging" / "img", "%04d.jpg")
    put_boxes(tmp_path / "Jogging" / "groundtruth_rect.1.txt", truth)
    put_boxes(tmp_path / "Jogging" / "groundtruth_rect.2.txt", truth + 1)
    truth = make_pictures(tmp_path / "Car2" / "img")
    truth[2] = 0
    put_boxes(tmp_path / "Car2" / "groundtruth_rect.txt", truth)
    put(tmp_path / "anno" / "att" / "Car2.txt", flags("MB", among=DTB11))
    names = {s.name: s for s in read_dataset("DTB70", tmp_path)}
    assert sorted(names) == ["Car2", "Jogging-1", "Jogging-2"]
    assert names["Car2"].attributes == {"MB"}
    assert names["Jogging-2"].truth[0, 0] == names["Jogging-1"].truth[0, 0] + 1


def test_otb_david_starts_late(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "David" / "img", "%04d.jpg", 304)
    put_boxes(tmp_path / "David" / "groundtruth_rect.txt", truth[299:])
    (sequence,) = read_dataset("OTB100", tmp_path)
    assert files_of(sequence) == [f"{i:04d}.jpg" for i in range(300, 305)]


def test_otb_pictures_may_begin_late(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "BlurCar1" / "img", "%04d.jpg", 4, 247)
    put_boxes(tmp_path / "BlurCar1" / "groundtruth_rect.txt", truth)
    (sequence,) = read_dataset("OTB100", tmp_path)
    assert files_of(sequence)[0] == "0247.jpg"


@pytest.mark.parametrize("folder", ["sequences", "UAV-benchmark-S", "data_seq", "."])
def test_uavdt(tmp_path: Path, make_pictures: MakePictures, folder: str) -> None:
    truth = make_pictures(tmp_path / folder / "S0101", "img%06d.jpg")
    put_boxes(tmp_path / "anno" / "S0101_gt.txt", truth)
    put(tmp_path / "att" / "S0101_att.txt", "0,1,1,1,0,0,1,1,0\n")
    (sequence,) = read_dataset("UAVDT", tmp_path)
    assert sequence.attributes == {"CR", "OR", "SO", "SV", "LO"}
    assert len(files_of(sequence)) == 5


def test_lasot_needs_names_of_its_own(tmp_path: Path, make_pictures: MakePictures) -> None:
    for kind in ("car", "cars"):
        truth = make_pictures(tmp_path / kind / "car-1" / "img", "%08d.jpg")
        put_boxes(tmp_path / kind / "car-1" / "groundtruth.txt", truth)
    with pytest.raises(InputError, match=r"expected another name than LaSOT/car-1, found the same"):
        read_dataset("LaSOT", tmp_path)
    _, findings = check_dataset("LaSOT", tmp_path)
    assert [(f.sequence, f.text) for f in findings] == [
        ("car-1", "2 sequences of this name: expected one")
    ]


def test_lasot_hides_what_cannot_be_seen(tmp_path: Path, make_pictures: MakePictures) -> None:
    folder = tmp_path / "car" / "car-3"
    truth = make_pictures(folder / "img", "%08d.jpg")
    put_boxes(folder / "groundtruth.txt", truth)
    put(folder / "full_occlusion.txt", "0,0,1,0,0")
    put(folder / "out_of_view.txt", "0,0,0,0,1")
    (sequence,) = read_dataset("LaSOT", tmp_path)
    assert np.isnan(sequence.truth).all(axis=1).tolist() == [False, False, True, False, True]
    put(folder / "out_of_view.txt", "0,0,0")
    with pytest.raises(InputError, match=r"out_of_view\.txt: expected 5 flags.*found 3"):
        read_dataset("LaSOT", tmp_path)


def test_got10k(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "G1", "%08d.jpg")
    put(tmp_path / "list.txt", "G1\nG2\n")
    put_boxes(tmp_path / "G1" / "groundtruth.txt", truth)
    put(tmp_path / "G1" / "absence.label", "0\n0\n0\n1\n0\n")
    make_pictures(tmp_path / "G2", "%08d.jpg", 3)
    put_boxes(tmp_path / "G2" / "groundtruth.txt", truth[:1])
    first, test = read_dataset("got10k", tmp_path)
    assert np.isnan(first.truth[3]).all()
    assert len(test) == 3
    assert np.isnan(test.truth[1:]).all()
    assert first.attributes == {"ABS"}
    put(tmp_path / "G1" / "cover.label", "8\n8\n7\n0\n8\n")
    put(tmp_path / "G1" / "cut_by_image.label", "0\n0\n0\n0\n0\n")
    assert read_dataset("got10k", tmp_path)[0].attributes == {"ABS", "COV"}
    put(tmp_path / "G1" / "cover.label", "8\n8\n")
    with pytest.raises(InputError, match=r"cover\.label: expected 5 labels, one a frame, found 2"):
        read_dataset("got10k", tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfG2\r\n")  # as Windows writes it
    assert [s.name for s in read_dataset("got10k", tmp_path)] == ["G2"]
    with pytest.raises(InputError, match=r"list\.txt: expected a list of sequences"):
        read_dataset("GOT-10k", tmp_path / "G1")


def test_visdrone(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "sequences" / "uav1_s", "img%07d.jpg")
    put_boxes(tmp_path / "annotations" / "uav1_s.txt", truth)
    put(tmp_path / "attributes" / "uav1_s_attr.txt", "0,0,1,1,1,0,0,0,1,1,1,1\n")
    (sequence,) = read_dataset("VisDrone-SOT", tmp_path)
    assert sequence.attributes == {"CM", "FM", "FOC", "POC", "SOB", "SV", "VC"}


@pytest.mark.parametrize("name", [d.name for d in DATASETS.values()])
def test_a_wrong_folder_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected"):
        read_dataset(name, tmp_path)
    with pytest.raises(InputError, match="expected"):
        read_dataset(name, tmp_path / "none")


def test_too_few_pictures(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "data_seq" / "a")
    put_boxes(tmp_path / "anno" / "a.txt", np.vstack([truth, truth]))
    with pytest.raises(InputError, match=r"expected 10 pictures.*a\.txt, found 5"):
        read_dataset("UAVDark135", tmp_path)


def test_set_names() -> None:
    assert find_dataset("uav123_10FPS").name == "UAV123@10fps"
    assert is_test_set("UAVDark135")
    assert not is_test_set("NAT2021-train")
    assert not is_test_set("videos")
    with pytest.raises(InputError, match="'nosuch' is unknown: expected one of videos"):
        find_dataset("nosuch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,0\n", "line 1: expected 5 columns VC,FM,LR,OCC,IV, found 2"),
        ("1,0,0,2,0\n", "expected 0 or 1 for OCC, found '2'"),
        ("1,0,0,x,0\n", "expected 0 or 1 for OCC, found 'x'"),
        ("1,0,0,0,0\n1,0,0,0,0\n", "expected one line of flags, found 2 lines"),
    ],
)
def test_bad_attribute_files(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path / "att.txt", text)
    with pytest.raises(InputError) as caught:
        read_attributes(tmp_path / "att.txt", ("VC", "FM", "LR", "OCC", "IV"))
    assert words in str(caught.value)


def test_an_attribute_file_of_no_known_width(tmp_path: Path, make_pictures: MakePictures) -> None:
    truth = make_pictures(tmp_path / "data_seq" / "a")
    put_boxes(tmp_path / "anno" / "a.txt", truth)
    put(tmp_path / "anno" / "att" / "a.txt", "1,0,1\n")
    with pytest.raises(InputError, match=r"a\.txt, line 1: expected 5 columns .*found 3"):
        read_dataset("UAVDark135", tmp_path)


def test_flags_of_frames(tmp_path: Path) -> None:
    put(tmp_path / "a", "0,1\n1\n")
    assert read_flags(tmp_path / "a").tolist() == [False, True, True]
    put(tmp_path / "a", "0\n7\n")
    with pytest.raises(InputError, match="line 2: expected 0 or 1, found '7'"):
        read_flags(tmp_path / "a")


def test_crop511(tmp_path: Path) -> None:
    listing = {"ILSVRC/v1": {"00": {"000003": [10, 20, 50, 60], "000001": [40, 80]}}}
    put(tmp_path / "all.json", json.dumps(listing))
    for number in (1, 3):
        put(tmp_path / "crop511" / "ILSVRC" / "v1" / f"{number:06d}.00.x.jpg", "")
    tracks = read_crop511(tmp_path / "crop511", tmp_path / "all.json")
    crops = tracks["ILSVRC/v1/00"]
    assert [c.frame for c in crops] == [1, 3]
    assert tuple(crops[1].source) == (10, 20, 40, 40)
    # A 40 px square has a template region of √(80 · 80) = 80 px, shown as 127 px.
    assert crops[1].box.w == pytest.approx(40 * 127 / 80)
    assert (crops[1].box.cx, crops[1].box.cy) == (255.5, 255.5)
    assert crops[0].box == box_in_crop(40, 80)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected JSON"),
        ("[]", "an object of videos, found list"),
        ('{"v": {"00": {"1": [1, 2, 3]}}}', "4 numbers x1, y1, x2, y2 at v/00/1"),
        ('{"v": {"00": {"1": [5, 5, 5, 9]}}}', "a box with area at v/00/1"),
        ('{"v": {"00": {"1": [5, 5, NaN, 9]}}}', "a box with area at v/00/1"),
        ('{"v": {"00": {"1": [1, 1, 5, 9]}}}', "000001.00.x.jpg: expected the crop"),
    ],
)
def test_bad_crop511(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path / "all.json", text)
    with pytest.raises(InputError) as caught:
        read_crop511(tmp_path, tmp_path / "all.json")
    assert words in str(caught.value)
