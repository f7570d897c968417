"""The box and the score burned into a frame."""

from __future__ import annotations

import cv2

from model.geometry import Box, Image

BOX_BGR = (80, 220, 80)
LOW_BGR = (60, 170, 255)
LOW_SCORE = 0.5


def draw_box(image: Image, box: Box, score: float | None) -> Image:
    """Return a copy of a BGR frame with the box and, where there is one, its score drawn in."""
    shown: Image = image.copy()
    colour = LOW_BGR if score is not None and score < LOW_SCORE else BOX_BGR
    x0, y0 = round(box.x), round(box.y)
    cv2.rectangle(shown, (x0, y0), (round(box.x + box.w), round(box.y + box.h)), colour, 2)
    if score is not None:
        place = (x0, max(14, y0 - 6))
        cv2.putText(shown, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
    return shown
