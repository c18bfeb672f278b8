"""Links that lead out of the proxy, led back into it: a pod knows nothing of the path that it is seen under (pure).

    /style.css                  ─▶ /api/v1/…/pods/web/proxy/style.css
    http://10.244.1.2:80/next   ─▶ /api/v1/…/pods/web/proxy/next         the pod's own address, or the client's Host
    style.css  #top  //cdn/x    ─▶ as they are

As the real proxy does (apimachinery/pkg/util/proxy/transport.go), for a Location and for the attributes of HTML that
hold one URL each. `HtmlLinks` takes a page in pieces of any size and answers as much of it as is complete: text,
comments, scripts and styles as they came, byte for byte, and start tags with their links rewritten. A tag of more
than MAX_TAG_BYTES passes as it is, so that is also all that is ever held back.

Left out: URLs in styles and scripts, lists of URLs (`srcset`), encodings in which `<` is not one byte of ASCII.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Literal
from urllib.parse import urlsplit

MAX_TAG_BYTES = 64 * 1024
PIECE_BYTES = 64 * 1024
_ZLIB_HEADER_BYTES = 2
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

_LINKS: dict[bytes, frozenset[bytes]] = {
    tag.encode(): frozenset(names.encode().split())
    for tag, names in {
        "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
        "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src",
        "form": "action", "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
        "img": "longdesc src usemap", "input": "src usemap formaction", "ins": "cite", "link": "href",
        "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src",
        "video": "poster src",
    }.items()
}  # fmt: skip
_VERBATIM = (b"script", b"style", b"textarea", b"title")
"""Tags whose content is text up to their end tag, whatever it looks like."""
_NAME = re.compile(rb"<([A-Za-z][^\s/>]*)")
_START_TAG = re.compile(rb"""<[A-Za-z](?:[^"'>]|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""(\s)([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


def link_rewriter(prefix: str, hosts: Iterable[str]) -> Callable[[str], str]:
    """From a URL to where it leads through the proxy. `hosts` (`name:port`) are names of the pod itself."""
    own = frozenset(hosts)

    def rewritten(url: str) -> str:
        try:
            parts = urlsplit(url.strip())
        except ValueError:  # a broken address in brackets
            return url
        if not parts.path.startswith("/") or parts.scheme not in ("", "http", "https"):
            return url
        if parts.netloc and parts.netloc not in own:
            return url
        path = url.strip().partition("//" + parts.netloc)[2] if parts.netloc else url.strip()
        return path if path.startswith(prefix + "/") else prefix + path

    return rewritten


class HtmlLinks:
    """One page on its way through."""

    def __init__(self, rewritten: Callable[[str], str]) -> None:
        self._rewritten = rewritten
        self._held = b""
        self._end_tag = b""
        """Inside of a comment, a script or the like: what ends it."""

    def feed(self, piece: bytes) -> bytes:
        """What is complete by now."""
        self._held += piece
        done: list[bytes] = []
        while self._held:
            length = self._verbatim_length() if self._end_tag else self._step(done)
            if length == 0:
                break
            if length > 0:
                done.append(self._held[:length])
                self._held = self._held[length:]
        return b"".join(done)

    def finish(self) -> bytes:
        """The rest, as it came."""
        rest, self._held = self._held, b""
        return rest

    def _verbatim_length(self) -> int:
        """How much may pass before the end tag can begin; past it, all else is markup again."""
        at = self._held.lower().find(self._end_tag)
        if at < 0:
            return max(len(self._held) - len(self._end_tag) + 1, 0)
        self._end_tag = b""
        return at + 1

    def _step(self, done: list[bytes]) -> int:
        """How much passes as it is; 0 to wait for more, -1 when a start tag was dealt with."""
        at = self._held.find(b"<")
        if at != 0:
            return at if at > 0 else len(self._held)
        if b"<!--".startswith(self._held[:4]):
            self._end_tag = b"-->" if len(self._held) >= 4 else b""
            return 4 if self._end_tag else 0
        if not _NAME.match(self._held):
            return 1
        tag = _START_TAG.match(self._held)
        if tag is None:
            return 1 if len(self._held) > MAX_TAG_BYTES else 0
        done.append(self._start_tag(tag[0]))
        self._held = self._held[tag.end() :]
        return -1

    def _start_tag(self, tag: bytes) -> bytes:
        found = _NAME.match(tag)
        name = found[1].lower() if found else b""
        if name in _VERBATIM:
            self._end_tag = b"</" + name
        links = _LINKS.get(name)
        if not links:
            return tag

        def replaced(match: re.Match[bytes]) -> bytes:
            space, attribute, equals, value = match.groups()
            if attribute.lower() not in links:
                return match[0]
            quote = value[:1] if value[:1] in (b'"', b"'") else b""
            url = value[len(quote) : len(value) - len(quote)].decode("latin-1")
            return space + attribute + equals + quote + self._rewritten(url).encode("latin-1") + quote

        return _ATTRIBUTE.sub(replaced, tag)


class PackedLinks:
    """The same for a page in gzip or deflate. A piece may grow a thousandfold: it is unpacked PIECE_BYTES at a time.

    Deflate comes with zlib's two bytes before it, as the standard says, or without, as some servers have it; it leaves
    as it came.
    """

    def __init__(self, links: HtmlLinks, encoding: Literal["gzip", "deflate"]) -> None:
        self._links = links
        self._held = b""
        self._streams = _streams(_GZIP) if encoding == "gzip" else None
        """None until the first two bytes tell which form of deflate it is."""

    def feed(self, piece: bytes) -> bytes:
        """What is complete by now. Raises zlib.error for what is not in this encoding."""
        if self._streams is None:
            piece = self._held = self._held + piece
            if len(piece) < _ZLIB_HEADER_BYTES:
                return b""
            self._streams = _streams(_ZLIB if _begins_with_zlib(piece) else _RAW)
        unpacked, packed = self._streams
        done: list[bytes] = []
        while piece:
            plain = unpacked.decompress(piece, PIECE_BYTES)
            done.append(packed.compress(self._links.feed(plain)))
            piece = unpacked.unconsumed_tail
        return b"".join(done)

    def finish(self) -> bytes:
        if self._streams is None:
            return self._held
        unpacked, packed = self._streams
        rest = self._links.feed(unpacked.flush()) + self._links.finish()
        return packed.compress(rest) + packed.flush()


def _streams(window_bits: int) -> tuple[zlib._Decompress, zlib._Compress]:
    return zlib.decompressobj(wbits=window_bits), zlib.compressobj(wbits=window_bits)


def _begins_with_zlib(piece: bytes) -> bool:
    """RFC 1950, 2.2: the method is 8, and both bytes as one number are a multiple of 31."""
    return piece[0] & 0x0F == 8 and int.from_bytes(piece[:_ZLIB_HEADER_BYTES], "big") % 31 == 0
