"""Every fake and its real twin, held to the same promises."""
