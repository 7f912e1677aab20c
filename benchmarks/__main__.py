"""``python -m benchmarks NAME``: each command prints a table and writes JSON."""

from __future__ import annotations

import click

from benchmarks import (
    ablation,
    accuracy,
    chip_budget,
    chip_time,
    cifar,
    convolution,
    epochs,
    equality,
    exactness,
    examples,
    firing_delay,
    firing_delay_plot,
    firing_raster,
    graph_networks,
    interchange,
    kernels,
    load,
    lowering,
    memory,
    oracle,
    simulation,
    soak,
    timed_training,
    training,
)


@click.group()
def main() -> None:
    """Measure what the documentation claims. Nothing else should run on the machine."""


for module in (
    convolution,
    simulation,
    memory,
    oracle,
    training,
    accuracy,
    ablation,
    cifar,
    epochs,
    equality,
    exactness,
    examples,
    firing_delay,
    firing_delay_plot,
    firing_raster,
    graph_networks,
    chip_budget,
    chip_time,
    lowering,
    interchange,
    kernels,
    soak,
    load,
    timed_training,
):
    for command in module.COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main()
