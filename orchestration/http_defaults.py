"""What the context and the hub must know of HTTP calls before there is one.

The rest (:mod:`.http_call` and what it uses) parses URLs, dates and JSON. It is imported with the first call: most programs
make none, and it would be a tenth of what importing the framework costs them.
"""

from __future__ import annotations

from typing import Final

HTTP_ACTIVITY: Final = "perdure.http"
"""The name of the activity that makes a request; each hub provides it."""

HTTP_TIMEOUT_SECONDS: Final = 100.0
"""How long one request may take if the call does not say, as in Durable Functions."""

HTTP_RESPONSE_BYTES_MAX: Final = 1024 * 1024
"""The longest body of a response, unless the call says otherwise: it is kept in the journal."""
