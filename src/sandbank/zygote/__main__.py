"""``python -m sandbank.zygote DESCRIPTOR``: serve requests on an inherited socket until it closes."""

import sys

from sandbank.zygote.server import serve

serve(int(sys.argv[1]))
