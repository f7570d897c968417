"""Lets a TraX client, as the VOT toolkit, drive one of our trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from model.errors import InputError
from model.evaluation.peers import PeerTracker
from model.evaluation.sequences import read_image
from model.evaluation.trax_client import load_trax
from model.geometry import Box, Image


def serve_trax(tracker: PeerTracker, name: str, log: bool = False) -> int:
    """Answer a client until it quits; the socket of TRAX_SOCKET, else standard input and output.

    Args:
        tracker: closed by the caller.
        name: told to the client.
        log: print the protocol's messages.

    Returns:
        the number of frames answered.

    Raises:
        MissingExtraError: the library is not installed.
        InputError: the client sent a region or a picture that cannot be used; it is told why.
    """
    trax = load_trax()
    regions = [trax.Region.RECTANGLE]
    images = [trax.Image.PATH, trax.Image.MEMORY, trax.Image.BUFFER]
    server = trax.Server(
        regions,
        images,
        [trax.ImageChannel.COLOR],
        tracker_name=name,
        tracker_family="SiamRPN",
        log=log,
    )
    answered = 0
    try:
        while True:
            request = server.wait()
            if request.type not in (trax.TraxStatus.INITIALIZE, trax.TraxStatus.FRAME):
                return answered
            server.status(_answer(trax, tracker, request))
            answered += 1
    except InputError as error:
        server.quit(reason=str(error))
        raise


def _answer(trax: Any, tracker: PeerTracker, request: Any) -> list[tuple[Any, dict[str, str]]]:
    """Run one request, give the region and its confidence."""
    image = decode_image(trax, request.image[trax.ImageChannel.COLOR])
    if request.type == trax.TraxStatus.INITIALIZE:
        region = request.objects[0][0]
        x, y, w, h = (float(v) for v in region.bounds())
        box = Box(x, y, w, h)
        tracker.init(image, box)
        score: float | None = None
    else:
        box, score = tracker.update(image)
    properties = {} if score is None else {"confidence": f"{score:.6f}"}
    return [(trax.Rectangle.create(*box), properties)]


def decode_image(trax: Any, image: Any) -> Image:
    """Turn a client's image into (H, W, 3) BGR uint8.

    Raises:
        InputError: it cannot be read.
    """
    if image.type() == trax.Image.PATH:
        return read_image(Path(image.path()))
    if image.type() == trax.Image.MEMORY:
        pixels = np.asarray(image.array())
        if pixels.dtype != np.uint8 or pixels.ndim != 3:
            raise InputError(f"picture of {pixels.dtype} {pixels.shape}: expected 8-bit RGB")
        if pixels.shape[2] == 1:
            return np.ascontiguousarray(np.repeat(pixels, 3, axis=2))
        return np.ascontiguousarray(pixels[..., ::-1])
    decoded = cv2.imdecode(np.frombuffer(image.buffer(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise InputError("picture in a buffer: expected JPEG or PNG")
    return np.asarray(decoded, np.uint8)
