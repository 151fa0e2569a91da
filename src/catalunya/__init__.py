"""The Catalunya Open Data Pipeline.

The packages below are links to the folders at the top of the repository: `catalunya.io` is `io/`.
Nothing of them is imported here, so that importing one part never pays for another.
"""

import os

# polars (its allocator, jemalloc) gives the system what was free for half a second, and has to get it again for the next page: a tenth of the CPU
# of a large table. It reads this when it is first imported.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:5000")
