#!/usr/bin/env python3
"""Publishes to channels through the server API, with nothing but the standard library.

    make run                                     # a gateway, in another terminal
    python3 examples/publish.py public.lobby '{"name": "news", "text": "hello"}'

The API's key is read from --key-file. A publication that was not answered, or with 503, is tried
again with the same `key`, so that in a channel with history it is published once.
"""

import argparse, json, random, sys, time, urllib.error, urllib.request, uuid

ATTEMPTS = 8
BACK_OFF_SECONDS = 0.25, 10


class Refused(Exception):
    """The gateway said no, and would say so again."""


def publish(url, api_key, channel, data):
    """Where the publication stands: `channel`, and `epoch` and `offset` in a channel with history."""
    body = {"channel": channel, "data": data, "key": uuid.uuid4().hex}
    for attempt in range(ATTEMPTS):
        try:
            return post(f"{url}/api/v1/publish", api_key, body)["results"][0]
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if getattr(error, "code", 503) != 503:
                raise Refused(f"{error.code}: {json.load(error)['error']['message']}") from None
            cause = error
        # Full jitter: publishers that were refused together do not come back together.
        first, longest = BACK_OFF_SECONDS
        time.sleep(random.uniform(0, min(first * 2**attempt, longest)))
    raise Refused(f"no answer in {ATTEMPTS} attempts: {cause}")


def post(url, api_key, body):
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def parsed(text):
    """JSON as what it is, anything else as text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("channel", help="such as public.lobby")
    parser.add_argument("data", nargs="+", type=parsed, help="JSON, or text; several are published one after the other")
    parser.add_argument("--url", default="http://127.0.0.1:9090", help="the gateway's internal port (default: %(default)s)")
    parser.add_argument("--key-file", default=".run/secrets/chat-api/api-key", help="the file with the API's key (default: %(default)s)")
    options = parser.parse_args()
    try:
        with open(options.key_file) as file:
            api_key = file.readline().strip()
        for data in options.data:
            print(json.dumps(publish(options.url, api_key, options.channel, data)))
    except (OSError, Refused) as error:
        sys.exit(f"publish.py: {error}")


if __name__ == "__main__":
    main()
