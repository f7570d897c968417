"""Where each data set keeps its pictures, boxes and attributes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.box_files import read_lines
from model.evaluation.errors import DataFileError

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class Entry:
    """The files of one sequence, not read yet.

    Attributes:
        name: of the sequence.
        truth: text file of boxes.
        pictures: folder of pictures.
        start: number of the first annotated picture, from 1.
        attributes: file of flags, None where there is none.
        absent: files of flags that say in which frames the target cannot be seen.
        labels: folder of GOT-10k's labels of frames, None where there are none.
    """

    name: str
    truth: Path
    pictures: Path
    start: int = 1
    attributes: Path | None = None
    absent: tuple[Path, ...] = ()
    labels: Path | None = None


# Parts of UAV123's long videos: number of the first picture of _1, _2, … at 30 fps.
UAV123_STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car16": (1, 415),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
OTB_STARTS = {"David": 300}
"""OTB sequences whose boxes begin later than their pictures."""


def flat(root: Path) -> list[Entry]:
    """Night sets: `data_seq/` + `anno/`, `Sequences/` + `anno_revise/`, or a folder a sequence.

    The last is MMOT's: `<seq>/imgs/`, `<seq>/groundtruth_rect.txt`, `<seq>/attributes.txt`.
    """
    for pictures, truth in (("data_seq", "anno"), ("Sequences", "anno_revise")):
        if (root / pictures).is_dir() and (root / truth).is_dir():
            return [
                Entry(
                    path.stem,
                    path,
                    root / pictures / path.stem,
                    attributes=_attributes_of(root, root / truth, path.stem),
                )
                for path in _texts(root / truth)
            ]
    return folder_each(root)


def folder_each(root: Path) -> list[Entry]:
    """One folder a sequence: `<seq>/{img,imgs}/` and `<seq>/groundtruth_rect.txt` (DTB70, OTB).

    `groundtruth_rect.1.txt`, `.2.txt` are targets of one video: `<seq>-1`, `<seq>-2`.
    """
    entries = []
    for folder in _folders(root):
        truths = sorted(folder.glob("groundtruth_rect*.txt"))
        truths = [t for t in truths if t.stat().st_size > 0]
        pictures = next((folder / n for n in ("img", "imgs") if (folder / n).is_dir()), folder)
        for truth in truths:
            part = truth.name.removeprefix("groundtruth_rect").removesuffix(".txt").strip(".")
            name = f"{folder.name}-{part}" if part else folder.name
            flags = folder / "attributes.txt"
            attributes = flags if flags.is_file() else _attributes_of(root, root / "anno", name)
            start = OTB_STARTS.get(folder.name, 1)
            entries.append(Entry(name, truth, pictures, start, attributes))
    return entries


def uav123(root: Path, anno: str, pictures: str) -> list[Entry]:
    """UAV123, UAV20L and UAV123@10fps.

    Args:
        root: holds `anno/` and `data_seq/`.
        anno: subfolder of `anno/`.
        pictures: subfolder of `data_seq/`.
    """
    truths = root / "anno" / anno
    if not truths.is_dir():
        raise DataFileError(truths, "a folder of annotations", "nothing")
    entries = []
    for path in _texts(truths):
        folder, start = path.stem, 1
        video, _, part = path.stem.rpartition("_")
        if anno != "UAV20L" and video in UAV123_STARTS and part.isdigit():
            folder, start = video, UAV123_STARTS[video][int(part) - 1]
            if pictures.endswith("10fps"):
                start = (start - 1) // 3 + 1
        place = root / "data_seq" / pictures / folder
        entries.append(
            Entry(path.stem, path, place, start, _attributes_of(root, truths, path.stem))
        )
    return entries


def uavdt(root: Path) -> list[Entry]:
    """UAVDT-SOT: `anno/<seq>_gt.txt`, `att/<seq>_att.txt`, pictures in one of three folders."""
    entries = []
    for path in _texts(root / "anno"):
        name = path.stem.removesuffix("_gt")
        places = [root / n / name for n in ("sequences", "UAV-benchmark-S", "data_seq")]
        place = next((p for p in [*places, root / name] if p.is_dir()), places[0])
        entries.append(Entry(name, path, place, 1, _attributes_of(root, root / "anno", name)))
    return entries


def lasot(root: Path) -> list[Entry]:
    """LaSOT: `<class>/<seq>/` (or `<seq>/` alone) with img/ and three text files."""
    truths = sorted([*root.glob("*/groundtruth.txt"), *root.glob("*/*/groundtruth.txt")])
    return [
        Entry(
            path.parent.name,
            path,
            path.parent / "img",
            attributes=_attributes_of(root, root, path.parent.name),
            absent=tuple(
                path.parent / name
                for name in ("full_occlusion.txt", "out_of_view.txt")
                if (path.parent / name).is_file()
            ),
        )
        for path in truths
    ]


def got10k(root: Path) -> list[Entry]:
    """One split of GOT-10k: `list.txt` names the sequences."""
    listing = root / "list.txt"
    if not listing.is_file():
        raise DataFileError(
            listing, "a list of sequences (give the folder of one split)", "nothing"
        )
    entries = []
    for name in " ".join(read_lines(listing)).split():
        folder = root / name
        absence = folder / "absence.label"
        absent = (absence,) if absence.is_file() else ()
        entries.append(
            Entry(name, folder / "groundtruth.txt", folder, absent=absent, labels=folder)
        )
    return entries


def visdrone(root: Path) -> list[Entry]:
    """VisDrone-SOT: `sequences/<seq>/`, `annotations/<seq>.txt`, `attributes/<seq>_attr.txt`."""
    return [
        Entry(
            path.stem,
            path,
            root / "sequences" / path.stem,
            attributes=_attributes_of(root, root, path.stem),
        )
        for path in _texts(root / "annotations")
    ]


def _texts(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataFileError(folder, "a folder of annotations", "nothing")
    return sorted(path for path in folder.glob("*.txt") if path.is_file())


def _folders(root: Path) -> Iterable[Path]:
    if not root.is_dir():
        raise DataFileError(root, "a folder of sequences", "nothing")
    return sorted(path for path in root.iterdir() if path.is_dir())


def _attributes_of(root: Path, anno: Path, name: str) -> Path | None:
    """Find a sequence's file of flags in the places that sets use."""
    for folder in (anno / "att", root / "att", root / "attributes"):
        for suffix in ("", "_att", "_attr"):
            path = folder / f"{name}{suffix}.txt"
            if path.is_file():
                return path
    return None
