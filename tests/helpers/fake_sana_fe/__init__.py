"""A folder for PYTHONPATH in which ``sanafe`` is a few lines of Python, for tests without SANA-FE.

They do what was seen of SANA-FE 2.2.9: which calls the backend makes, and what a neuron, a synapse
and a trace do then. Whether SANA-FE itself still does so is seen where it is installed.
"""
