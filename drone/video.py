"""Video as a source: files, RTSP streams and webcams."""

from __future__ import annotations

from drone.video_file import VideoFileSource
from drone.video_live import LiveTiming, LiveVideoSource, rtsp_source, webcam_source

__all__ = ["LiveTiming", "LiveVideoSource", "VideoFileSource", "rtsp_source", "webcam_source"]
