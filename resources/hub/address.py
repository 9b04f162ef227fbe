"""Address of a hub, and the headers that may be sent to it. Its secrets are in no message."""

import ipaddress
from urllib.parse import urlsplit

from resources.errors import EmergenceError

_SCHEMES = ("https", "http")


class Address:
    """Address of one hub; by default that of huggingface_hub."""

    def __init__(self, url: str | None):
        """Check an address.

        Raises:
            EmergenceError: it has no scheme or no host.
        """
        self.url = url.rstrip("/") if url else None
        try:
            parts = urlsplit(self.url or "")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        self._secrets = parts.netloc.rpartition("@")[0]
        named = f"[{host}]" if ":" in host else host
        self.shown = f"{parts.scheme}://{named}{f':{port}' if port else ''}{parts.path}" if host else ""
        """The address without user and password; empty for the default."""
        if self.url and (parts.scheme not in _SCHEMES or not host):
            raise EmergenceError(
                f"The address of the hub is {self.url.rpartition('@')[2]!r:.200}.",
                where="HF_ENDPOINT",
                remedy="write it with its scheme, as in https://hub.example.org",
            )
        self.withholds_token = parts.scheme == "http" and not _is_this_machine(host)
        """Whether a token would travel to another machine without encryption."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, with the token of the user unless it is withheld.

        Raises:
            EmergenceError: the token cannot stand in a header.
        """
        from huggingface_hub.utils import build_hf_headers

        headers = build_hf_headers(token=False if self.withholds_token else None)
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise EmergenceError(
                "The token of the hub has characters that no token has.",
                where="HF_TOKEN",
                remedy="copy the token again, without quotes and line breaks",
            )
        return headers

    def without_secrets(self, text: str) -> str:
        """Return a text without the user and the password of the address."""
        return text.replace(f"{self._secrets}@", "").replace(self._secrets, "…") if self._secrets else text


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
