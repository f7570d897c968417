"""The ground control station: loop, sessions, flight log, HTTP service and page."""
