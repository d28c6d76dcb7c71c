"""What this service answers itself: health and the edge API."""
