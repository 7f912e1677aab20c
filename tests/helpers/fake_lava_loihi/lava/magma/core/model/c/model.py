"""Stands for the one name of lava-loihi's module that Lava's run configurations need.

The others are left out, so that Lava's compiler takes the models here for what they are, models of
the CPU, while the run configuration takes them for models of a neurocore.
"""


class CLoihiProcessModel:
    pass
