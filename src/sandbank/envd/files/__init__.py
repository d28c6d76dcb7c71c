"""File content over plain HTTP: downloads, uploads and what authorises them."""
