"""Wire types: what the page and other programs send and receive."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LevelName = Literal["OFF", "CAMERA", "FOLLOW"]

Number = Annotated[float, Field(allow_inf_nan=True)]
"""NaN and infinity pass here; the box check answers them with a better message."""


class Strict(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BoxFields(Strict):
    """A box by names: left, top, width, height."""

    x: Number
    y: Number
    w: Number
    h: Number


class PointFields(Strict):
    """A point by names."""

    x: Number
    y: Number


class StartRequest(Strict):
    """Start a track with a box, or with a point around which a box of default size is laid.

    Exactly one of `box` and `point`. With `frame_id` the track begins on that frame and is
    carried forward over the frames since; without it, on the newest frame.
    """

    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | BoxFields | None = Field(
        default=None, examples=[[610, 340, 48, 30]], description="[x, y, w, h] or names"
    )
    point: Annotated[list[Number], Field(min_length=2, max_length=2)] | PointFields | None = Field(
        default=None, description="[x, y] or names, the middle of the target"
    )
    units: Literal["px", "fraction"] = Field(
        default="px", description="px of the full frame, or fractions 0..1 of its sides"
    )
    frame_id: int | None = Field(
        default=None, ge=0, description="the frame on which the box was drawn"
    )
    replace: bool = Field(
        default=False,
        description="while a target is tracked: it is kept until the new one is there, and where "
        "the new one is refused",
    )
    target: str | None = Field(
        default=None,
        max_length=80,
        description="annotated target to measure against; the best overlapping one when absent",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> StartRequest:
        if (self.box is None) == (self.point is None):
            raise ValueError("expected exactly one of 'box' and 'point'")
        return self

    def box_values(self) -> tuple[float, float, float, float] | None:
        """The box as x, y, w, h in `units`."""
        if self.box is None:
            return None
        if isinstance(self.box, BoxFields):
            return self.box.x, self.box.y, self.box.w, self.box.h
        x, y, w, h = self.box
        return x, y, w, h

    def point_values(self) -> tuple[float, float] | None:
        """The point as x, y in `units`."""
        if self.point is None:
            return None
        if isinstance(self.point, PointFields):
            return self.point.x, self.point.y
        x, y = self.point
        return x, y


class CameraRequest(Strict):
    """Move the camera by hand; expires by itself unless it is sent again."""

    yaw_deg_s: float = Field(default=0.0, ge=-90, le=90, allow_inf_nan=False)
    gimbal_pitch_deg_s: float = Field(default=0.0, ge=-90, le=90, allow_inf_nan=False)
    forward_m_s: float = Field(default=0.0, ge=-15, le=15, allow_inf_nan=False)


class SignInRequest(Strict):
    """The shared secret of a station on a network."""

    token: str = Field(min_length=1, max_length=512)


class Latency(BaseModel):
    """Where the time of one frame went, ms; null where it is not known yet."""

    receive_ms: float | None = Field(default=None, description="capture to the loop")
    update_ms: float | None = Field(default=None, description="the tracker's update")
    publish_ms: float | None = Field(default=None, description="capture to publication")
    encode_ms: float | None = Field(default=None, description="JPEG")
    round_trip_ms: float | None = Field(default=None, description="last message to its answer")


class Truth(BaseModel):
    """Error against ground truth; only where there is ground truth."""

    target: str
    box: list[float] | None
    cle_px: float | None
    iou: float | None


class Notice(BaseModel):
    """An event for the operator."""

    number: int
    kind: str
    message: str


class Status(BaseModel):
    """State of the station; with a picture it is the header of one video message."""

    sequence: int = Field(default=0, description="counts publications")
    frame_id: int | None = None
    captured_ns: int | None = Field(default=None, description="host's monotonic clock")
    age_ms: float | None = Field(default=None, description="capture to now")
    size: list[int] | None = Field(default=None, description="[width, height] of the frame, px")
    state: Literal["IDLE", "TRACKING", "LOST"] = "IDLE"
    level: Literal["SURE", "LOW", "LOST"] | None = None
    box: list[float] | None = Field(default=None, description="x, y, w, h; frame px")
    score: float | None = None
    thresholds: tuple[float, float] | None = Field(
        default=None, description="scores below which an answer is a miss, and LOW"
    )
    truth: Truth | None = None
    video: Literal["CONNECTING", "LIVE", "STALLED", "ENDED"] = "CONNECTING"
    video_message: str | None = None
    track_fps: float = 0.0
    source_fps: float = 0.0
    dropped: int = Field(default=0, description="frames that newer ones replaced, in total")
    refused: int = Field(default=0, description="frames that the engine failed on, in total")
    latency: Latency = Latency()
    recording: str | None = Field(default=None, description="flight being written")
    log_error: str | None = Field(default=None, description="why the flight is not written")
    source: str = ""
    engine: str = ""
    control: LevelName = Field(default="OFF", description="level granted to the follow controller")
    control_confirmed: bool = Field(default=False, description="forward flight is confirmed")
    control_reason: str | None = Field(default=None, description="its newest decision")
    camera: bool = Field(default=False, description="the camera can be moved by hand")
    yaw_deg: float | None = None
    gimbal_pitch_deg: float | None = None
    height_m: float | None = None
    battery_percent: float | None = None
    link_quality: float | None = None
    notice: Notice | None = None


class Started(BaseModel):
    """A track has started."""

    state: Literal["TRACKING"] = "TRACKING"
    flight_id: str | None
    frame_id: int = Field(description="frame the target was learnt on")
    box: list[float] = Field(description="box learnt, x, y, w, h in frame px")
    replayed: int = Field(description="buffered frames the target was carried over since")
    truth: str | None = Field(description="annotated target the flight is measured against")


class Stopped(BaseModel):
    """A track has stopped."""

    state: Literal["IDLE"] = "IDLE"
    flight_id: str | None
    frames: int


class Health(BaseModel):
    """Whether the parts live."""

    healthy: bool
    loop: str
    source: str
    engine: str
    loop_beat_ms: float
    problems: list[str]


class Problem(BaseModel):
    """A refused request (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    input: str | None = None
    expected: str | None = None
    mend: str | None = None
