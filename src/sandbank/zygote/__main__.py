"""``python -m sandbank.zygote DESCRIPTOR FILE``: serve requests on an inherited socket until it closes, with memory in a new file."""

import sys

from sandbank.zygote.server import serve

serve(int(sys.argv[1]), sys.argv[2])
