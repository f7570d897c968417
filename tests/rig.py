"""A station fed by hand, and everything it published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gcs.hub import Publication
from gcs.requests import StartOrder, StopOrder
from gcs.schemas import Started, StartRequest, Stopped
from gcs.station import Station
from tests.fakes import BrightnessBackend, QueueSource, make_frame
from tests.serving import flight_folder, make_station, wait_until

START = StartRequest(box=[148, 108, 24, 24])


class Rig:
    """A station fed by hand, and everything it published."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        self.source = QueueSource()
        self.backend = parts.pop("backend", None) or BrightnessBackend()
        self.station: Station = make_station(folder, self.source, self.backend, **parts)
        self.published: list[Publication] = []
        publish = self.station.hub.publish

        def keep(publication: Publication) -> None:
            self.published.append(publication)
            publish(publication)

        self.station.hub.publish = keep  # type: ignore[method-assign]
        self.station.start()

    def push(self, number: int, x: float = 160, visible: bool = True) -> None:
        frame = make_frame(number, self.station.clock(), (x, 120), visible=visible)
        self.source.push(frame)

    def push_and_wait(self, number: int, x: float = 160, visible: bool = True) -> Publication:
        self.push(number, x, visible)
        wait_until(lambda: any(p.status.frame_id == number for p in self.published))
        return next(p for p in self.published if p.status.frame_id == number)

    def start_track(self, request: StartRequest = START) -> Started:
        order = StartOrder(request)
        self.station.loop.orders.put(order)
        return order.answer.result(10)

    def stop_track(self) -> Stopped:
        order = StopOrder()
        self.station.loop.orders.put(order)
        return order.answer.result(10)

    def pictures(self) -> list[int]:
        return [p.status.frame_id for p in self.published if p.status.frame_id is not None]

    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.station.journal.events]

    def flight(self) -> list[dict[str, Any]]:
        folder = flight_folder(self.station)
        return [json.loads(line) for line in (folder / "track.jsonl").read_text().splitlines()]
