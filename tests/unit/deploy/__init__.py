"""Files below deploy/, as far as they can be checked without running them."""
