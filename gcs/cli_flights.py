"""`mlkd flights`: list the recorded flights and review one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from model.errors import InputError


def add_parser(sub: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `flights list` and `flights show`."""
    parser = sub.add_parser("flights", help="list and review recorded flights")
    verbs = parser.add_subparsers(dest="flights_verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="every recorded flight, newest first")
    show = verbs.add_parser("show", help="figures of one flight, and its CLE curve")
    show.add_argument("flight_id", metavar="ID", help="as printed by `flights list`, or `last`")
    show.add_argument("--json", action="store_true", help="print the figures as one JSON line")
    show.add_argument("--curve", type=Path, metavar="FILE.svg", help="where to draw the CLE curve")
    for each in (listing, show):
        each.add_argument("--flights-dir", type=Path, default=Path("flights"), metavar="DIR")
    listing.set_defaults(run=run_list)
    show.set_defaults(run=run_show)


def run_list(arguments: argparse.Namespace) -> int:
    """Print one line a flight."""
    from gcs.flights import list_flights

    folder = arguments.flights_dir
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--flights-dir {folder} is a file: expected a folder of flights")
    flights = list_flights(folder)
    for flight in flights:
        print(f"{flight.flight_id}  {flight.started_at}  {flight.source}")
    if not flights:
        print(f"no flight in {folder.resolve()}")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print a flight's figures and draw its curve beside its log."""
    from gcs.flights import draw_cle_curve, read_flight, summarise

    flight = read_flight(arguments.flights_dir, arguments.flight_id)
    figures = summarise(flight)
    if arguments.json:
        print(json.dumps(figures.as_dict()))
    else:
        for line in figures.lines():
            print(line)
    if figures.mean_cle_px is not None:
        place = arguments.curve or flight.folder / "cle.svg"
        place.write_text(draw_cle_curve(flight), encoding="utf-8")
        if not arguments.json:
            print(f"CLE curve           {place}")
    return 0
