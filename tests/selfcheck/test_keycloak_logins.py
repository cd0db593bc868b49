"""Learners of many tests share an account: Keycloak takes its logins though they come at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from fixtures.sso import NewLearner
from harness.people.learner import words

AT_ONCE = 4


def test_one_account_logs_in_several_times_at_once(learner: NewLearner) -> None:
    """Logins of one account at the same moment all succeed."""
    people = [learner() for _ in range(AT_ONCE)]
    forms = [person.go_to_login("/hub/home") for person in people]
    with ThreadPoolExecutor(AT_ONCE) as at_once:
        answers = [*at_once.map(lambda person, form: person.submit(form), people, forms)]
    refused = [words(answer) for answer in answers if not answer.is_redirect]
    assert not refused, f"{len(refused)} of {AT_ONCE} logins of one account were refused: {refused[0]}"
