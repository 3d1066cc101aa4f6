#!/usr/bin/env bash
# A cluster of plain machines, one command on each. The head takes drivers only; its dashboard stays on loopback.
#   head:      deploy/two-machines.sh head 10.0.0.1
#   training:  deploy/two-machines.sh train 10.0.0.1 [8]    (as many machines as there are; 8: ranks on this one)
#   devices:   deploy/two-machines.sh device 10.0.0.1 ort-cpu-1t [another-target ...]
#   sweep, on the head:  deploy/two-machines.sh sweep my.yaml   (the same again continues it)
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
. "$here/cluster.env"
role="${1:?head, train, device or sweep}" what="${2:?address of the head, or the sweep}"
port="${ONEPATH_HEAD_PORT:-6379}"
# Several nodes on one machine need a folder each: in a shared one they unpack a job's package over each other's.
folder=(${ONEPATH_RAY_FOLDER:+--temp-dir "$ONEPATH_RAY_FOLDER"})
case "$role" in
    head) exec ray start --head --node-ip-address "$what" --port "$port" --num-cpus 0 \
        --dashboard-host 127.0.0.1 --disable-usage-stats --block "${folder[@]}" ;;
    train) exec ray start --address "$what:$port" --resources "{\"train\": ${3:-1}}" --disable-usage-stats --block \
        "${folder[@]}" ;;
    device) shift 2; exec onepath device serve --address "$what:$port" $(printf -- '--target %s ' "$@") ;;
    sweep) export RAY_API_SERVER_ADDRESS="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}"
        exec ray job submit --working-dir . -- onepath sweep "$what" ;;
    *) echo "unknown role $role: head, train, device or sweep" >&2; exit 2 ;;
esac
