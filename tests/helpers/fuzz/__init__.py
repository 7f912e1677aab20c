"""Damaged files: what is done to them, who reads them, and what has to come of it.

``make fuzz MINUTES=30`` goes on until the time is over. A case is made from its format and number
alone, so what is found is found again by them.
"""
