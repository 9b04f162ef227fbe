"""Answers of a hub: followed to their last address, never decompressed, and read only as far as they are used.

A compressed answer of kilobytes can unpack to gigabytes. httpx unpacks and keeps the whole body of a redirection, and
`hf_raise_for_status` that of an error, before their caller sees the answer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

TIMEOUT_SECONDS = 30.0
"""Longest silence."""
MAX_REDIRECTIONS = 10


class NoHubError(Exception):
    """The server does not behave like a hub."""


@contextmanager
def answering(session: "httpx2.Client", url: str, headers: Mapping[str, str]) -> Iterator["httpx2.Response"]:
    """Send a GET request; its answer is not read yet, and comes in no encoding.

    Raises:
        HfHubHTTPError: the answer is an error.
        NoHubError: the answer is compressed, or redirects too often.
    """
    headers = {**headers, "Accept-Encoding": "identity"}
    request = session.build_request("GET", url, headers=headers, timeout=TIMEOUT_SECONDS)
    for _ in range(MAX_REDIRECTIONS + 1):
        answer = session.send(request, stream=True, follow_redirects=False)
        try:
            # httpx makes it, without our token where another host is named.
            if (further := answer.next_request) is None:
                _require_success(answer)
                if (encoding := answer.headers.get("Content-Encoding", "identity")) != "identity":
                    raise NoHubError(f"its answer is encoded as {encoding[:80]!r}, although a plain one was requested")
                yield answer
                return
        finally:
            answer.close()
        request = further
    raise NoHubError(f"it redirects more than {MAX_REDIRECTIONS} times")


def _require_success(answer: "httpx2.Response") -> None:
    import httpx2
    from huggingface_hub.utils import hf_raise_for_status

    if answer.is_success:
        return
    # Without the body: a hub states the kind of an error in headers.
    kept = [(name, value) for name, value in answer.headers.multi_items() if not name.lower().startswith("content-")]
    hf_raise_for_status(httpx2.Response(answer.status_code, headers=kept, content=b"", request=answer.request))
