"""The log of what clients without a key can cause: one line a second of each kind, with the number of the others."""

import logging

from flowpi.host.log_limit import LogLimit

log = logging.getLogger(__name__)
log.addFilter(LogLimit())
