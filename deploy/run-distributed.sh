#!/usr/bin/env bash
# Runs Doorman as three processes on this machine: a gateway at 127.0.0.1:8080 and two workers. They use the
# Postgres and RabbitMQ that DOORMAN_POSTGRES_URL and DOORMAN_RABBITMQ_URL name; without these, those that
# deploy/services.sh finds or starts. Ctrl-C stops all three. When a worker ends, as when it is killed, the other one goes
# on with its lanes; the end of the gateway or of both workers stops everything.
#
#   deploy/run-distributed.sh [arguments of 'doorman serve' for all of them]
set -euo pipefail
# Each process in a process group of its own: a terminal sends Ctrl-C to all of a group, and with the script's
# own signal that would be two, of which the second ends a process at once.
set -m
cd "$(dirname "$0")/.."

if [[ -z ${DOORMAN_POSTGRES_URL:-} || -z ${DOORMAN_RABBITMQ_URL:-} ]]; then
  services="$(deploy/services.sh postgres rabbitmq)"
  eval "$services"
  export DOORMAN_POSTGRES_URL="${DOORMAN_POSTGRES_URL:-$DOORMAN_TEST_POSTGRES_URL}"
  export DOORMAN_RABBITMQ_URL="${DOORMAN_RABBITMQ_URL:-$DOORMAN_TEST_RABBITMQ_URL}"
fi

# prefixed NAME: lines with the name before them, to the last one, also after Ctrl-C.
prefixed() {
  trap '' INT TERM
  exec sed -u "s/^/$1  /"
}

# start NAME PORT ROLES: one process, whose lines begin with its name.
pids=()
declare -A names
start() {
  local name=$1 port=$2 roles=$3
  shift 3
  bin/doorman serve --roles "$roles" --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$((port + 1))" "$@" \
    > >(prefixed "$name") 2> >(prefixed "$name" >&2) &
  pids+=($!)
  names[$!]=$name
}

stop() {
  trap '' INT TERM
  kill -TERM "${pids[@]}" 2>/dev/null || true
  wait || true
}

echo "In another terminal, for 'bin/doorman lanes', 'lanes set' and 'migrate'${1:+, with those of the same arguments that they know}:"
printf '  export'
for name in DOORMAN_POSTGRES_URL DOORMAN_POSTGRES_SCHEMA DOORMAN_RABBITMQ_URL DOORMAN_RABBITMQ_PREFIX; do
  [[ -z ${!name:-} ]] || printf ' %s=%q' "$name" "${!name}"
done
echo
trap 'stop; exit 0' INT TERM
trap stop EXIT
start gateway 8080 gateway "$@"
start "worker1" 8082 worker,projector "$@"
start "worker2" 8084 worker,projector "$@"
gateway=${pids[0]}
while true; do
  status=0
  wait -n -p ended "${pids[@]}" || status=$?
  if [[ $ended == "$gateway" || ${#pids[@]} -le 2 ]]; then
    exit "$status"
  fi
  echo "${names[$ended]} has ended with status $status; the others go on" >&2
  left=()
  for pid in "${pids[@]}"; do
    [[ $pid == "$ended" ]] || left+=("$pid")
  done
  pids=("${left[@]}")
done
