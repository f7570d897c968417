from __future__ import annotations

import asyncio
import threading

import cv2
import numpy as np
import pytest

from gcs.hub import Hub, HubClosedError, Pace, Publication, ViewersFullError
from gcs.schemas import Status
from tests.fakes import draw_scene


def publication(sequence: int, picture: bool = True) -> Publication:
    image = draw_scene(160, 120) if picture else None
    status = Status(sequence=sequence, frame_id=sequence, state="TRACKING", box=[10, 10, 50, 40])
    return Publication(status, image, 1280, 80)


def test_the_jpeg_is_made_once_by_whoever_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *args: made.append(1) or real(*args))
    shared = publication(1)
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(shared.jpeg())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(seen)) == 1
    assert shared.encode_ms is not None


def test_the_picture_is_scaled_to_the_width_and_the_box_with_it() -> None:
    wide = draw_scene(1000, 500, size=(1920, 1080))
    status = Status(sequence=1, state="TRACKING", box=[960, 540, 192, 108], score=0.5)
    shared = Publication(status, wide, 640, 95)
    plain = cv2.imdecode(np.frombuffer(shared.jpeg(), np.uint8), cv2.IMREAD_COLOR)
    marked = cv2.imdecode(np.frombuffer(shared.marked_jpeg(), np.uint8), cv2.IMREAD_COLOR)
    assert plain.shape == marked.shape == (360, 640, 3)
    change = cv2.absdiff(plain, marked).max(axis=2)
    edge = change[180 - 2 : 180 + 3, 330:370]
    assert edge.max() > 60, "the top edge of the box is drawn where the box is"
    assert change[300:, :].max() < 60


def test_viewers_get_the_newest_and_never_the_same_twice() -> None:
    async def scene() -> list[int]:
        hub = Hub(2)
        hub.attach(asyncio.get_running_loop())
        hub.publish(publication(1))
        hub.publish(publication(2))
        seen = [(await hub.newer_than(0)).status.sequence]
        waiting = asyncio.create_task(hub.newer_than(2))
        await asyncio.sleep(0)
        assert not waiting.done()
        publisher = threading.Thread(target=lambda: hub.publish(publication(3)))
        publisher.start()
        seen.append((await asyncio.wait_for(waiting, 5)).status.sequence)
        publisher.join()
        return seen

    assert asyncio.run(scene()) == [2, 3]


def test_a_slow_viewer_costs_the_publisher_nothing() -> None:
    async def scene() -> None:
        hub = Hub(2)
        hub.attach(asyncio.get_running_loop())
        for sequence in range(1, 10_001):
            hub.publish(publication(sequence, picture=False))
        assert (await hub.newer_than(1)).status.sequence == 10_000
        assert hub._waiting == set()

    asyncio.run(scene())


def test_news_without_a_picture_keep_the_last_picture() -> None:
    hub = Hub(1)
    hub.publish(publication(1))
    hub.publish(publication(2, picture=False))
    assert hub.latest is not None
    assert hub.latest_picture is not None
    assert (hub.latest.status.sequence, hub.latest_picture.status.sequence) == (2, 1)


def test_closing_ends_the_waiting() -> None:
    async def scene() -> None:
        hub = Hub(1)
        hub.attach(asyncio.get_running_loop())
        waiting = asyncio.create_task(hub.newer_than(0))
        await asyncio.sleep(0)
        hub.close()
        with pytest.raises(HubClosedError):
            await waiting
        hub.publish(publication(1))
        with pytest.raises(HubClosedError):
            await hub.newer_than(0)

    asyncio.run(scene())


def test_publishing_after_the_event_loop_has_closed_is_harmless() -> None:
    hub = Hub(1)

    async def attach() -> None:
        hub.attach(asyncio.get_running_loop())

    asyncio.run(attach())
    hub.publish(publication(1))
    assert hub.latest is not None


def test_seats_are_counted_and_given_back() -> None:
    hub = Hub(1)
    with hub.seat(), pytest.raises(ViewersFullError, match="1 of 1"), hub.seat():
        pass
    assert hub.viewers == 0
    with hub.seat():
        assert hub.viewers == 1


def test_pace_holds_a_fast_source_and_passes_one_of_its_own_rate() -> None:
    now = 0.0
    pace = Pace(30.0, clock=lambda: now)
    sent = 0
    while now < 10:
        now += pace.delay_s()
        sent += 1
        now += 0.001
    assert 290 < sent <= 302
    pace = Pace(30.0, clock=lambda: now)
    waited = 0.0
    for frame in range(300):
        now = 20 + frame / 30 + 0.004 * (frame % 3)
        waited += pace.delay_s()
    assert waited < 0.2, "a source of the same rate with jitter is not put off"
