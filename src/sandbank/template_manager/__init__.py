"""Turns recipes into builds."""
