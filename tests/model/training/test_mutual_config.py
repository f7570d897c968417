"""The training file of the distillation stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import ConfigError
from model.training.mutual_config import MutualConfig, load_mutual_config
from model.training.mutual_loop import config_mapping

BASE = {"sources": [{"kind": "images", "path": "stills"}]}


def test_the_defaults_are_the_papers():
    config = MutualConfig.from_mapping(BASE)
    assert config.students.names() == ("l2", "spatial", "threshold")
    assert config.students.parts == "backbone"
    assert config.teacher.enhancer == "darklighter"
    d = config.distill
    assert (d.base_weight, d.kd_weight, d.correlation_weight, d.mutual_weight) == (1, 1000, 0.2, 20)


FILES = Path(__file__).parents[3] / "configs" / "train"


def test_the_papers_file_has_the_weights_of_the_paper():
    config = load_mutual_config(FILES / "mutual-paper.yaml")
    assert config.distill == MutualConfig.from_mapping(BASE).distill
    assert config.teacher.sees == "enhanced"
    assert not config.train.pairs.clean


def test_the_ablation_differs_from_the_room_in_its_budget_alone():
    room, short = (load_mutual_config(FILES / f"{n}.yaml") for n in ("mutual", "ablation"))
    assert room.train.pairs.clean  # its teacher sees clean crops
    assert (room.distill, room.teacher) == (short.distill, short.teacher)
    assert room.students.losses == short.students.losses
    assert room.train.sources == short.train.sources


def test_the_compact_student_is_one_and_has_no_room():
    config = load_mutual_config(FILES / "student-compact.yaml")
    assert config.students.names() == ("none",)
    assert config.students.baseline == "compact"
    assert config.train.pairs.clean


def test_students_may_be_many_and_alike():
    config = MutualConfig.from_mapping({**BASE, "students": {"losses": ["l2", "l2", "none", "l2"]}})
    assert config.students.names() == ("l2", "l2.2", "none", "l2.3")


def test_it_survives_a_checkpoint():
    sections = {
        "distill": {"temperature": 4.0, "maps": "cls"},
        "teacher": {"enhancer": "clahe", "enhance_below_grey": 60.0},
        "students": {"losses": ["l2", "none"], "baseline": "compact"},
    }
    config = MutualConfig.from_mapping({**BASE, **sections})
    assert MutualConfig.from_mapping(config_mapping(config)) == config


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"students": {"losses": ["l1"]}}, "students.losses"),
        ({"students": {"losses": []}}, "students.losses"),
        ({"students": {"baseline": "resnet50"}}, "students.baseline"),
        ({"students": {"parts": "head"}}, "students.parts"),
        ({"optim": {"statistics": "none"}}, "optim.statistics"),
        ({"students": {"epoch_steps": 0}}, "students.epoch_steps"),
        ({"distill": {"temperature": float("inf")}}, "temperature is inf"),
        ({"network": "compact"}, "network is 'compact': expected nothing"),
        ({"pairs": {"clean": True}}, "pairs.clean"),
        ({"teacher": {"enhancer": "sun"}}, "teacher.enhancer"),
        ({"teacher": {"sees": "stars"}}, "teacher.sees"),
        ({"teacher": {"baseline": "vgg"}}, "teacher.baseline"),
        ({"teacher": {"enhance_below_grey": 300.0}}, "teacher.enhance_below_grey"),
        ({"distill": {"lambda2": 1.0}}, "lambda2"),
        ({"distill": 3}, "distill"),
        ({"pupils": {}}, "pupils"),
    ],
)
def test_what_does_not_fit_is_named(section, named):
    with pytest.raises(ConfigError, match=named):
        MutualConfig.from_mapping({**BASE, **section})


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "mutual.yaml"
    with pytest.raises(ConfigError, match=r"mutual\.yaml cannot be read"):
        load_mutual_config(path)
    path.write_text("distill: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_mutual_config(path)
    path.write_text("just words")
    with pytest.raises(ConfigError, match="holds no settings"):
        load_mutual_config(path)
    path.write_text("sources: [{kind: images, path: a}]\nstudents: {losses: [l7]}")
    with pytest.raises(ConfigError, match=r"mutual\.yaml: students\.losses"):
        load_mutual_config(path)
