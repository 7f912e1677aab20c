"""Recordings of event cameras in the formats that they come in."""
