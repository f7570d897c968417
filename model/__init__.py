"""The tracker: geometry, crops, anchors, decoding and the one-target tracking loop.

The core of this package needs numpy and OpenCV only; `model.nets`, `model.enhance` and
`model.training` need torch and are never imported in flight.
"""
