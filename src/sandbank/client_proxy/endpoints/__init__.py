"""What this service answers itself: health and the edge API's open part."""
