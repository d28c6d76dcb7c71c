"""Requests of sandboxes that get headers on their way out, secrets among them."""
