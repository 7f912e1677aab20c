#!/bin/sh
# What fifteen minutes on a GPU are good for: networks trained for a share of them each, in the order
# in which their accuracies are wanted. Each is exported, tested on all test images by the reference
# on the GPU, and compared on some of them with the reference on the CPU and with PyTorch.
#
#   DATA=npz:cifar10.npz MINUTES=14 benchmarks/gpu_train.sh      results in ./gpu-train
#   DEVICE=cpu MINUTES=0.2 NETWORKS="lenet:4:phased:100" DATA=... benchmarks/gpu_train.sh
#
# A network is NAME:T:DELAY:SHARE, the share in per cent of the minutes. Needs what gpu_check.sh
# needs. MINUTES is what is left to the trainings; reading the images comes on top.
set -u

cd "$(dirname "$0")/.." || exit 1
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda}
OUT=${OUT:-gpu-train}
DATA=${DATA:-cifar10}
MINUTES=${MINUTES:-14}
NETWORKS=${NETWORKS:-"vgg16:4:phased:45 resnet18:4:1:35 cifarnet:8:phased:20"}
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PYTHONUNBUFFERED=1
export PYTHONPATH PYTHONUNBUFFERED
mkdir -p "$OUT" || exit 1
failed=0

for network in $NETWORKS; do
    # shellcheck disable=SC2086  # the parts are one word each
    set -- $(echo "$network" | tr ":" " ")
    share=$(awk "BEGIN { print $MINUTES * $4 / 100 }")
    name=$1-T$2-$3
    "$PYTHON" -m benchmarks timed-training --device "$DEVICE" --data "$DATA" --network "$1" \
        --num-steps "$2" --firing-delay "$3" --minutes "$share" --out "$OUT/$name" \
        --json "$OUT/$name.json" > "$OUT/$name.log" 2>&1 || failed=$((failed + 1))
    tail -n 8 "$OUT/$name.log"
done

echo "results in $OUT, trainings that failed: $failed"
exit $failed
