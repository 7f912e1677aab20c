#!/bin/sh
# What a GPU has to show, in five minutes: equal integers, which kernels and algorithms it takes and
# how fast they are, the table of training steps with the other libraries that are installed, and two
# epochs of VGG-16 on images of CIFAR-10's size.
#
#   benchmarks/gpu_check.sh            from the root of the sources; results in ./gpu-check
#   DEVICE=cpu SIZE=tiny benchmarks/gpu_check.sh     tries the script itself without a GPU
#
# Needs a Python (3.10 or newer; PYTHON names it, default python3) with torch, numpy, h5py, click,
# rich and scikit-learn; the package is taken from the sources. No registry, no Lava. With pytest
# and hypothesis the conformance suite runs on the device, and the tests that ask for a GPU. DATA=npz:PATH or DATA=cifar10
# names the images of the epochs, otherwise they are random. OUT is the folder of the results.
#
# Every part has a share of the five minutes and what earlier ones left of theirs, and the next one
# runs whatever became of it. The exit status is the number of parts that failed; summary.txt has a
# line for each.
set -u

cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
OUT=${OUT:-gpu-check}
DATA=${DATA:-}
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PYTHONUNBUFFERED=1
export PYTHONPATH PYTHONUNBUFFERED
mkdir -p "$OUT" || exit 1
: > "$OUT/summary.txt"
failed=0

case ${SIZE:-full} in
full)
    kernels="--repeats 10"
    random="--random 8 --samples 64"
    networks="vgg16 cifarnet resnet20"
    steps="--repeats 7"
    epochs="--network vgg16 --epochs 2"
    ;;
tiny)
    kernels="--repeats 2 --batch 2 --small"
    random="--random 2 --samples 4 --no-zoo"
    networks="3-conv"
    steps="--batch 2 --num-steps 2 --repeats 2 --no-memory"
    epochs="--network 3-conv --epochs 2 --images 40 --batch 4"
    ;;
*)
    echo "SIZE is $SIZE; allowed are full and tiny" >&2
    exit 1
    ;;
esac

spare=0
# part NAME SECONDS COMMAND...: runs it into OUT/NAME.log
part() {
    name=$1 limit=$(($2 + spare))
    shift 2
    began=$(date +%s)
    timeout -k 5 "$limit" "$@" > "$OUT/$name.log" 2>&1
    status=$?
    seconds=$(($(date +%s) - began))
    spare=$((limit - seconds))
    case $status in
    0) verdict=ok ;;
    124 | 137) verdict="stopped after $limit s" ;;
    *) verdict="failed with status $status" ;;
    esac
    [ $status -eq 0 ] || failed=$((failed + 1))
    echo "== $name: $verdict, $seconds s" | tee -a "$OUT/summary.txt"
    tail -n 40 "$OUT/$name.log"
}

# shellcheck disable=SC2086  # the options are several words
part kernels 15 "$PYTHON" -m benchmarks kernels --device "$DEVICE" $kernels \
    --json "$OUT/kernels.json"

# shellcheck disable=SC2086
part exactness 50 "$PYTHON" -m benchmarks exactness --device "$DEVICE" $random \
    --json "$OUT/exactness.json"

for network in $networks; do
    # shellcheck disable=SC2086
    part "training-step-$network" 25 "$PYTHON" -m benchmarks training-step --device "$DEVICE" \
        --networks "$network" $steps --peers --json "$OUT/training-step-$network.json"
done

# shellcheck disable=SC2086
part epochs 35 "$PYTHON" -m benchmarks epochs --device "$DEVICE" $epochs \
    ${DATA:+--data "$DATA"} --json "$OUT/epochs.json"

if "$PYTHON" -c "import pytest, hypothesis" 2> /dev/null; then
    part tests 30 "$PYTHON" -m pytest -q -p no:cacheprovider -k "a_gpu or cuda" \
        tests/arithmetic/gpu tests/arithmetic/test_counted_spikes.py \
        tests/learning/passes tests/training/test_augmentation.py
    part conformance 60 "$PYTHON" -m pytest hw_tests -q -p no:cacheprovider --backend reference \
        --device "$DEVICE"
else
    echo "== conformance and tests: left out, pytest or hypothesis is not installed" |
        tee -a "$OUT/summary.txt"
fi

echo "results in $OUT, parts that failed: $failed"
exit $failed
