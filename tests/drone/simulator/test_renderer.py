from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drone.simulator.actors import Actor, build_traffic
from drone.simulator.camera import CameraPose
from drone.simulator.canvas import encode
from drone.simulator.ground import MOST_LIGHT, Ground, bake_ground
from drone.simulator.renderer import HIDDEN_BELOW, NightRenderer
from drone.simulator.scenarios import SCENARIOS
from drone.simulator.world import Tree, World, build_world

QUIET = replace(SCENARIOS["default"], noise=0.0)


@pytest.fixture(scope="module")
def town() -> tuple[World, Ground]:
    world = build_world(QUIET)
    return world, bake_ground(world, QUIET.seed)


def only(kind: str) -> Actor:
    actors = build_traffic(QUIET).actors
    return actors[0] if kind == "vehicle" else next(a for a in actors if not a.vehicle)


def painted_pixels(
    renderer: NightRenderer, pose: CameraPose, actor: Actor, looks: tuple[str, str]
) -> np.ndarray:
    """Pixels that change with the actor's paint alone: its body as it was really drawn."""
    pictures = []
    for look in looks:
        actor.look = look
        pictures.append(renderer.render(pose, [actor], 0)[0].astype(int))
    return np.abs(pictures[0] - pictures[1]).max(2) > 2


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


@pytest.mark.parametrize(
    ("kind", "looks", "pitch_deg"),
    [
        ("vehicle", ("suv/white", "suv/black"), -60.0),
        ("vehicle", ("sedan/white", "sedan/black"), -89.0),
        ("vehicle", ("bus/white", "bus/black"), -45.0),
        ("person", ("white", "black"), -60.0),
    ],
)
def test_truth_boxes_agree_with_the_drawn_pixels(
    town: tuple[World, Ground], kind: str, looks: tuple[str, str], pitch_deg: float
) -> None:
    world = replace(town[0], street_trees=(), buildings=(), lamps=())
    renderer = NightRenderer(QUIET, world, town[1])
    actor = only(kind)
    lit = 0
    for k in range(6):
        actor.s_m = 20.0 + 55.0 * k
        actor.place()
        height = 30.0 if kind == "vehicle" else 15.0
        ahead = height / np.tan(np.radians(-pitch_deg))
        yaw = 40.0 * k
        pose = CameraPose(
            actor.x_m - ahead * np.sin(np.radians(yaw)) + 2,
            actor.y_m - ahead * np.cos(np.radians(yaw)) + 1,
            height,
            yaw,
            pitch_deg,
        )
        mask = painted_pixels(renderer, pose, actor, looks)
        box = renderer.render(pose, [actor], 0)[1][actor.name].box
        assert box is not None
        if mask.sum() < 0.25 * box[2] * box[3]:
            continue  # too dark here for paint to show
        lit += 1
        x0, y0, x1, y1 = bounds(mask)
        # Paint shows on the body without tyres, glass and shoes: the box is a little larger.
        slack = 4 if kind == "vehicle" else 8
        assert box[0] - 2 <= x0 <= box[0] + slack
        assert box[1] - 2 <= y0 <= box[1] + slack
        assert box[0] + box[2] - slack <= x1 <= box[0] + box[2] + 2
        # A person's paint ends at the hips.
        below = slack if kind == "vehicle" else 0.55 * box[3]
        assert box[1] + box[3] - below <= y1 <= box[1] + box[3] + 2
    assert lit >= 3


def test_an_actor_out_of_view_has_no_box_and_a_cut_one_a_cut_box(
    town: tuple[World, Ground],
) -> None:
    renderer = NightRenderer(QUIET, *town)
    actor = only("vehicle")
    seen = renderer.render(CameraPose(actor.x_m, actor.y_m, 30, 0, -90), [actor], 0)[1]["target"]
    assert seen.visible == pytest.approx(1.0, abs=0.05)
    assert seen.box is not None
    far = CameraPose(actor.x_m + 60, actor.y_m, 30, 0, -90)
    assert renderer.render(far, [actor], 0)[1]["target"].box is None
    # Half of the frame is 20.6 m wide here: the camera stands so that the edge cuts the car.
    edge = CameraPose(actor.x_m + 20.4, actor.y_m, 30, 0, -90)
    cut = renderer.render(edge, [actor], 0)[1]["target"]
    assert cut.box is not None
    assert cut.box[0] == 0
    assert 0.3 < cut.visible < 0.95


def test_a_crown_hides_what_drives_under_it(town: tuple[World, Ground]) -> None:
    actor = only("vehicle")
    place = CameraPose(actor.x_m, actor.y_m, 40, 0, -90)
    visible = []
    for radius in (0.5, 2.0, 5.0):
        tree = Tree(actor.x_m, actor.y_m, radius, 5.0, 1)
        world = replace(town[0], street_trees=(tree,))
        renderer = NightRenderer(QUIET, world, town[1])
        seen = renderer.render(place, [actor], 0)[1]["target"]
        visible.append(seen.visible)
        assert (seen.box is None) == (seen.visible < HIDDEN_BELOW)
    assert visible[0] > 0.8
    assert visible == sorted(visible, reverse=True)
    assert visible[-1] < HIDDEN_BELOW
    hidden = painted_pixels(renderer, place, actor, ("suv/white", "suv/black"))
    bare = NightRenderer(QUIET, replace(town[0], street_trees=()), town[1])
    whole = painted_pixels(bare, place, actor, ("suv/white", "suv/black"))
    assert hidden.sum() < 0.4 * whole.sum()


def test_an_actor_behind_a_building_is_hidden(town: tuple[World, Ground]) -> None:
    building = max(town[0].buildings, key=lambda b: b.height_m)
    actor = only("vehicle")
    middle = (building.x0_m + building.x1_m) / 2
    actor.x_m, actor.y_m = middle, building.y1_m + 2.5
    renderer = NightRenderer(QUIET, replace(town[0], street_trees=()), town[1])
    low = CameraPose(middle, building.y0_m - 14, 18.0, 0, -28)
    assert renderer.render(low, [actor], 0)[1]["target"].box is None
    open_field = replace(town[0], street_trees=(), buildings=())
    renderer = NightRenderer(QUIET, open_field, town[1])
    assert renderer.render(low, [actor], 0)[1]["target"].box is not None


def test_light_is_encoded_and_saturates() -> None:
    assert encode(0.0) == 0
    assert encode(MOST_LIGHT) == encode(100.0) == 65535
    assert encode(1.0) == pytest.approx(65535 / np.sqrt(MOST_LIGHT), abs=1)


def test_noise_belongs_to_the_frame_number(town: tuple[World, Ground]) -> None:
    renderer = NightRenderer(SCENARIOS["default"], *town)
    pose = CameraPose(100, 100, 40, 0, -60)
    first = renderer.render(pose, [], 5)[0]
    other = renderer.render(pose, [], 6)[0]
    again = renderer.render(pose, [], 5)[0]
    assert np.array_equal(first, again)
    difference = first.astype(int) - other
    assert 1.0 < difference.std() < 8.0
