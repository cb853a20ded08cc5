#!/usr/bin/env bash
# Pretrain on a slice of Cloud TPU VMs, with one process per host. See docs/launch/tpu_vm.md.
#
#   export TPU_NAME=mmcl ZONE=us-west4-a ACCELERATOR=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite NFS=10.0.0.2:/share
#   launch/tpu_vm.sh create       request the slice; SPOT=1 requests spot capacity
#   launch/tpu_vm.sh setup        on every host: mount NFS at MOUNT (/mnt/mmcl) and install this checkout
#   launch/tpu_vm.sh run --config mmcl --config.data=/mnt/mmcl/stores/ads --workdir /mnt/mmcl/runs/ads
#   launch/tpu_vm.sh status       show the state of the slice, and of the process on every host
#   launch/tpu_vm.sh stop         save and leave; `run` with the same arguments continues
#   launch/tpu_vm.sh delete       give the slice back
#   launch/tpu_vm.sh keep ...     create, set up and run, again after every preemption, until the run is finished; takes
#                                 the arguments of run
#
# PROJECT names the project if it is not gcloud's default. SLICES=2 requests two such slices, which train together.
set -euo pipefail
mount=${MOUNT:-/mnt/mmcl}
slices=${SLICES:-1}
logs=$mount/logs/${TPU_NAME:-}

fail() {
  echo "tpu_vm.sh: $1" >&2
  exit 2
}
need() { # VARIABLE...
  local name
  for name; do
    [[ -n ${!name:-} ]] || fail "set $name; the head of the script shows an example of every variable."
  done
}

# here_* run on the hosts: on_hosts sends their text along.
here_setup() { # NFS MOUNT
  set -e
  if ! mountpoint -q "$2"; then
    sudo apt-get -q update
    sudo apt-get -q -y -o DPkg::Lock::Timeout=300 install nfs-common # a fresh host is often busy with its own updates
    sudo mkdir -p "$2"
    sudo mount -t nfs "$1" "$2"
  fi
  mkdir -p ~/mmcl/src
  tar -xzf ~/mmcl.tar.gz -C ~/mmcl/src
  # The Python of the hosts' images is too old; uv installs a newer one.
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
  [[ -x ~/mmcl/venv/bin/python ]] || ~/.local/bin/uv venv --quiet --python 3.12 ~/mmcl/venv
  ~/.local/bin/uv pip install --quiet --reinstall-package mmcl_jax --python ~/mmcl/venv/bin/python "$HOME/mmcl/src[tpu]"
}
here_state() {
  local state=idle
  if [[ -s ~/mmcl/exit ]]; then
    state="exit $(<~/mmcl/exit)"
  elif [[ -s ~/mmcl/pid ]]; then
    state=lost # the host was restarted
    grep -qs mmcl "/proc/$(<~/mmcl/pid)/cmdline" && state=running
  fi
  echo "mmcl on $(hostname): $state"
}
here_start() { # LOGS ARGUMENT...
  [[ $(here_state) != *running ]] || { here_state && return 1; }
  cd ~/mmcl && rm -f pid exit && mkdir -p "$1" || return
  local log
  log=$1/$(hostname).log
  shift
  # A new session, so that the process outlives the ssh connection.
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -c 'venv/bin/mmcl pretrain --distributed "$@" & echo $! >pid; wait $!; echo $? >exit' start "$@" \
    </dev/null >>"$log" 2>&1 &
  echo "mmcl on $(hostname): started, log in $log"
}
here_stop() {
  [[ $(here_state) != *running ]] || kill -TERM "$(<~/mmcl/pid)"
}
on_hosts() { # FUNCTION ARGUMENT...
  local call
  printf -v call '%q ' "$@"
  call="$(declare -f here_setup here_state here_start here_stop); $call"
  each_slice gcloud compute tpus tpu-vm ssh NODE "${where[@]}" --worker=all --command="$call"
}
each_slice() { # COMMAND..., for all slices at once, with NODE as the name of the slice
  local number node workers=() failed=0
  for ((number = 0; number < slices; number++)); do
    node=$TPU_NAME
    ((slices == 1)) || node+=-$number
    "${@/#NODE/$node}" &
    workers+=($!)
  done
  for node in "${workers[@]}"; do wait "$node" || failed=$?; done
  return "$failed"
}

slice_state() { # prints nothing if there is no such slice
  gcloud compute tpus queued-resources list "${where[@]}" --filter="name~/$TPU_NAME\$" --format="value(state.state)"
}
create() {
  local options=(--accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME")
  [[ ${SPOT:-0} == 0 ]] || options+=(--spot)
  # Nodes of several slices are called TPU_NAME-0, TPU_NAME-1, ...; all or none of them are given.
  local nodes=(--node-id="$TPU_NAME")
  ((slices == 1)) || nodes=(--node-count="$slices" --node-prefix="$TPU_NAME")
  gcloud compute tpus queued-resources create "$TPU_NAME" "${nodes[@]}" "${where[@]}" "${options[@]}"
}
setup() {
  local folder
  folder=$(mktemp -d)
  tar -C "$(dirname "${BASH_SOURCE[0]}")/.." --exclude=__pycache__ -czf "$folder/mmcl.tar.gz" \
    pyproject.toml README.md LICENSE configs mmcl_jax
  each_slice gcloud compute tpus tpu-vm scp "$folder/mmcl.tar.gz" NODE:mmcl.tar.gz "${where[@]}" --worker=all
  rm -r "$folder"
  on_hosts here_setup "$NFS" "$mount"
}
run() { on_hosts here_start "$logs" "$@"; }
status() {
  local slice
  slice=$(slice_state)
  echo "slice: ${slice:-none}"
  [[ $slice != ACTIVE ]] || on_hosts here_state
}
stop() { on_hosts here_stop; }
delete() { gcloud compute tpus queued-resources delete "$TPU_NAME" "${where[@]}" --force --quiet; }
keep() {
  local crashes=0 slice states
  while sleep "${POLL:-60}"; do
    slice=$(slice_state) || continue # no answer: ask again
    case $slice in
      "") create ;;
      SUSPENDED) delete || true ;; # preempted: such a slice never comes back, so a new one is requested
      FAILED) fail "the request failed; see gcloud compute tpus queued-resources describe $TPU_NAME." ;;
      ACTIVE)
        states=$(on_hosts here_state | grep "^mmcl on ") || continue
        echo "$states"
        [[ $states != *": running"* ]] || continue
        grep -qv ": exit 0$" <<<"$states" || return 0
        ! grep -q ": exit 2$" <<<"$states" || fail "bad input; the logs are in $logs."
        if grep -qvE ": (idle|exit 75)$" <<<"$states" && ((++crashes > ${MAX_RESTARTS:-10})); then
          echo "tpu_vm.sh: crashed $crashes times; not started again." >&2
          return 1
        fi
        # The next round of the loop sees a failure of these.
        bash "${BASH_SOURCE[0]}" setup && bash "${BASH_SOURCE[0]}" run "$@" || true
        ;;
      *) echo "slice: $slice" ;;
    esac
  done
}

case ${1:-} in
  create) need TPU_NAME ZONE ACCELERATOR RUNTIME ;;
  setup) need TPU_NAME ZONE NFS ;;
  keep) need TPU_NAME ZONE ACCELERATOR RUNTIME NFS ;;
  run | status | stop | delete) need TPU_NAME ZONE ;;
  *) fail "the first argument must be create, setup, run, status, stop, delete or keep." ;;
esac
[[ $slices =~ ^[1-9][0-9]*$ ]] || fail "SLICES is '$slices', which is no number of slices."
[[ $1 != run && $1 != keep || $# -gt 1 ]] || fail "give the arguments of mmcl pretrain after $1."
where=(--zone="$ZONE" ${PROJECT:+--project="$PROJECT"})
"$@"
