"""Stands for lava-loihi's base class of models that run on a neurocore."""


class AbstractNcProcessModel:
    """A mark only; the models below compute on the CPU."""
