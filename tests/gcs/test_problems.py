from __future__ import annotations

import json
import math

from gcs.problems import ProblemError, problem_response, shown


def test_a_problem_says_everything_that_is_known() -> None:
    error = ProblemError(422, "Unusable box", "too small", received=[1, 2], expected="larger")
    response = problem_response(error.problem)
    assert response.status_code == 422
    assert response.media_type == "application/problem+json"
    assert json.loads(bytes(response.body)) == {
        "type": "/problems#unusable-box",
        "title": "Unusable box",
        "status": 422,
        "detail": "too small",
        "input": "[1, 2]",
        "expected": "larger",
    }


def test_any_input_can_be_shown() -> None:
    assert shown([math.nan, math.inf]) == "[nan, inf]"
    assert shown("\ud800 half a pair") == "\\ud800 half a pair"
    assert len(shown("x" * 10_000)) == 200
