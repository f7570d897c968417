"""A Parrot video metadata block (version 3), written by the SDK's own library."""

from __future__ import annotations

import ctypes
import math

import olympe_deps as od

from tests.olympe.vmeta_values import (
    BATTERY_PERCENT,
    GIMBAL_PITCH_DEG,
    GROUND_DISTANCE_M,
    HORIZONTAL_FOV_DEG,
    SPEED_NORTH_M_S,
    YAW_DEG,
)


def block() -> bytes:
    """Bytes of the block; it has the form of an RTP header extension already."""
    frame = od.struct_vmeta_frame()
    frame.type = od.VMETA_FRAME_TYPE_V3
    frame.ref_count = 1
    base = frame.vmeta_frame_0.v3.base
    base.ground_distance = GROUND_DISTANCE_M
    base.battery_percentage = BATTERY_PERCENT
    base.wifi_rssi = -50
    base.link_quality = 4
    base.picture_hfov = HORIZONTAL_FOV_DEG
    base.picture_vfov = 42.0
    base.speed.north = SPEED_NORTH_M_S
    base.frame_base_quat.w = 1.0
    half_yaw = math.radians(YAW_DEG) / 2
    base.drone_quat.w, base.drone_quat.z = math.cos(half_yaw), math.sin(half_yaw)
    half_pitch = math.radians(GIMBAL_PITCH_DEG) / 2
    # Yaw, then pitch: the camera looks where the drone points, and down.
    base.frame_quat.w = math.cos(half_yaw) * math.cos(half_pitch)
    base.frame_quat.x = -math.sin(half_yaw) * math.sin(half_pitch)
    base.frame_quat.y = math.cos(half_yaw) * math.sin(half_pitch)
    base.frame_quat.z = math.sin(half_yaw) * math.cos(half_pitch)
    raw = (ctypes.c_uint8 * 256)()
    buffer = od.struct_vmeta_buffer()
    buffer.vmeta_buffer_0.data = ctypes.cast(raw, type(buffer.vmeta_buffer_0.data))
    buffer.len = len(raw)
    written = od.vmeta_frame_write(ctypes.byref(buffer), ctypes.byref(frame))
    if written != 0:
        raise RuntimeError(f"vmeta_frame_write answered {written}")
    written_block = bytearray(raw[: buffer.pos])
    # The SDK's Python structure holds the state at another place than its C one: set it here.
    written_block[-2] = od.VMETA_FLYING_STATE_FLYING
    return bytes(written_block)
