"""docker-py's client with answers that tests put in its place, failures as the library raises them."""

import json

import requests
from docker.errors import APIError, ImageNotFound, NotFound
from requests.packages.urllib3.exceptions import ProtocolError


class FakeDocker:
    """`answers` by call: a value, or an exception to raise. `asked` has the arguments of each call."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.asked.append((name, arguments, options))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def refusal(status, message, kind=APIError):
    """An answer of the engine that is not what was asked for."""
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps({"message": message}).encode()
    return kind(f"{status} error", response=response, explanation=message)


def no_container():
    return refusal(404, "no such container", NotFound)


def no_image():
    return refusal(404, "no such image", ImageNotFound)


def broken(cause):
    """A connection that has failed, as `requests` tells it."""
    return requests.exceptions.ConnectionError(ProtocolError("Connection aborted.", cause))


def late():
    return requests.exceptions.ReadTimeout("read timed out")
