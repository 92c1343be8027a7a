#!/usr/bin/env bash
# Sees to it that the services which tests need answer, and prints the environment in which tests find
# them, to be evaluated by a shell:
#
#   services="$(deploy/services.sh)"; eval "$services"
#
# A service that answers already is used as it is. Otherwise it is started with Docker; without Docker, by
# root on Debian or Ubuntu, from the distribution's package, as an instance of its own beside whatever is
# there. What was started stays: the next run finds it. Arguments choose services; all is the default. The
# programs that tests run themselves, a browser, Node.js with packages and Python with one, are brought in the same way.
#
# DOORMAN_TEST_POSTGRES_URL  the Postgres to use, instead of postgres@127.0.0.1:5432 without a password.
#                            On this machine it is started when it does not answer.
# DOORMAN_TEST_RABBITMQ_URL  the RabbitMQ to use, instead of guest:guest@127.0.0.1:5672; likewise.
# DOORMAN_TEST_CHROMIUM      the Chromium to use, instead of the one on the PATH.
# DOORMAN_TEST_PYTHON        the Python to use, which must have pika, instead of the first that has.
set -euo pipefail
shopt -s inherit_errexit

say() { printf 'services: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# attempts N COMMAND...: until the command succeeds, N times at most, four times a second.
attempts() {
  local left=$1
  shift
  until "$@"; do
    left=$((left - 1))
    ((left > 0)) || return 1
    sleep 0.25
  done
}

# listening HOST PORT: somebody accepts connections there.
listening() {
  # shellcheck disable=SC2016 # the inner shell expands
  timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}

docker_runs() {
  command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1
}

debian_root() {
  [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null
}

# debian_package NAME: installed, with the lists fetched when they do not know it.
debian_package() {
  if ! dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; then
    say "installing the package $1"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >&2 ||
      { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" >&2; }
  fi
}

# --- Postgres -----------------------------------------------------------------------------------------

readonly postgres_image=postgres:17
readonly postgres_name=doorman-test-postgres # of the container
readonly postgres_cluster=doorman            # of the Debian cluster
readonly postgres_spare_port=54329           # where another server has the port that was asked for

# postgres_answers URL: a query is answered. Without psql, whoever listens must at least speak Postgres's
# protocol, in which an SSLRequest (eight bytes) is answered with one letter.
postgres_answers() {
  if command -v psql >/dev/null; then
    PGCONNECT_TIMEOUT=3 psql -XAtqw -d "$1" -c 'select 1' >/dev/null 2>&1
    return
  fi
  local host port
  read -r host port < <(postgres_place "$1")
  # shellcheck disable=SC2016 # the inner shell expands
  [[ $(timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"; printf "\0\0\0\10\4\322\26\57" >&3; head -c 1 <&3' \
    "$host" "$port" 2>/dev/null) == [SN] ]]
}

# postgres_place URL: its host and port.
postgres_place() {
  local place=${1#*://}
  place=${place%%[/?]*}
  place=${place##*@}
  case $place in
    *:*) printf '%s %s\n' "${place%:*}" "${place##*:}" ;;
    *) printf '%s 5432\n' "${place:-127.0.0.1}" ;;
  esac
}

# postgres_docker PORT: starts one and prints the port that it got.
postgres_docker() {
  local port=$1
  if docker container inspect "$postgres_name" >/dev/null 2>&1; then
    say "replacing the container $postgres_name"
    docker rm -f "$postgres_name" >&2
  fi
  say "starting $postgres_image with Docker on port $port"
  docker run -d --name "$postgres_name" -p "127.0.0.1:$port:5432" -e POSTGRES_HOST_AUTH_METHOD=trust \
    "$postgres_image" -c max_connections=300 >&2
  printf '%s\n' "$port"
}

# postgres_debian PORT: starts one and prints the port that it got. The package makes a cluster of its own
# when it is installed, on the usual port, which is left alone too.
postgres_debian() {
  local port=$1 version
  debian_package postgresql
  if pg_lsclusters -h | awk -v name="$postgres_cluster" -v port="$port" '$2 != name && $3 == port' | grep -q .; then
    port=$postgres_spare_port
  fi
  version=$(pg_lsclusters -h | awk -v name="$postgres_cluster" '$2 == name { print $1; exit }')
  if [[ -n $version ]]; then
    say "starting the cluster $version/$postgres_cluster on port $port"
    pg_conftool "$version" "$postgres_cluster" set port "$port" >&2
    pg_ctlcluster "$version" "$postgres_cluster" restart >&2
  else
    version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -1)
    say "making the cluster $version/$postgres_cluster on port $port"
    pg_createcluster "$version" "$postgres_cluster" --port "$port" --start-conf manual \
      --pgoption max_connections=300 -- --encoding=UTF8 --auth-local=trust --auth-host=trust >&2
    pg_ctlcluster "$version" "$postgres_cluster" start >&2
  fi
  printf '%s\n' "$port"
}

postgres() {
  local url=${DOORMAN_TEST_POSTGRES_URL:-postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable}
  if ! postgres_answers "$url"; then
    local host port
    read -r host port < <(postgres_place "$url")
    case $host in
      127.0.0.1 | localhost) ;;
      *) fail "no Postgres answers at $host:$port, which DOORMAN_TEST_POSTGRES_URL names, and it is not this machine" ;;
    esac
    # Whoever has the port is left alone.
    if listening 127.0.0.1 "$port"; then
      port=$postgres_spare_port
    fi
    url="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
    if ! postgres_answers "$url"; then
      if docker_runs; then
        port=$(postgres_docker "$port")
      elif debian_root; then
        port=$(postgres_debian "$port")
      else
        fail "no Postgres answers at $host:$port. Start one there that lets the user postgres in without a password, name" \
          "another one in DOORMAN_TEST_POSTGRES_URL, or have Docker run; as root on Debian or Ubuntu this script installs one"
      fi
      url="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
      attempts 240 postgres_answers "$url" || fail "the Postgres that was started does not answer at $url"
    fi
  fi
  printf 'export DOORMAN_TEST_POSTGRES_URL=%q\n' "$url"
}

# --- RabbitMQ -----------------------------------------------------------------------------------------

readonly rabbitmq_image=rabbitmq:4
readonly rabbitmq_name=doorman-test-rabbitmq # of the container
readonly rabbitmq_node=doorman@localhost     # of the Debian package's instance
readonly rabbitmq_folder=/var/lib/rabbitmq/doorman-test
readonly rabbitmq_spare_port=56729 # where another server has the port that was asked for

# rabbitmq_place URL: its host and port.
rabbitmq_place() {
  local place=${1#*://}
  place=${place%%[/?]*}
  place=${place##*@}
  case $place in
    *:*) printf '%s %s\n' "${place%:*}" "${place##*:}" ;;
    *) printf '%s 5672\n' "${place:-127.0.0.1}" ;;
  esac
}

# rabbitmq_answers URL: whoever listens speaks the protocol, in which a client's greeting is answered with a
# frame of type 1.
rabbitmq_answers() {
  local host port
  read -r host port < <(rabbitmq_place "$1")
  # shellcheck disable=SC2016 # the inner shell expands
  [[ $(timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"; printf "AMQP\0\0\11\1" >&3; head -c 1 <&3 | od -An -tu1' \
    "$host" "$port" 2>/dev/null) == *1 ]]
}

# rabbitmq_docker PORT: starts one.
rabbitmq_docker() {
  if docker container inspect "$rabbitmq_name" >/dev/null 2>&1; then
    say "replacing the container $rabbitmq_name"
    docker rm -f "$rabbitmq_name" >&2
  fi
  say "starting $rabbitmq_image with Docker on port $1"
  docker run -d --name "$rabbitmq_name" -p "127.0.0.1:$1:5672" "$rabbitmq_image" >&2
}

# rabbitmq_debian PORT: starts one. The package starts one of its own where it can, which is left alone.
rabbitmq_debian() {
  debian_package rabbitmq-server
  say "starting the RabbitMQ $rabbitmq_node on port $1"
  install -d -o rabbitmq -g rabbitmq "$rabbitmq_folder"
  printf '[].\n' >"$rabbitmq_folder/enabled_plugins"
  printf 'listeners.tcp.1 = 127.0.0.1:%s\n' "$1" >"$rabbitmq_folder/rabbitmq.conf"
  chown rabbitmq:rabbitmq "$rabbitmq_folder"/*
  RABBITMQ_NODENAME=$rabbitmq_node RABBITMQ_NODE_PORT=$1 RABBITMQ_DIST_PORT=$((rabbitmq_spare_port + 1)) \
    RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_CONFIG_FILE=$rabbitmq_folder/rabbitmq.conf \
    RABBITMQ_MNESIA_BASE=$rabbitmq_folder/data RABBITMQ_LOG_BASE=$rabbitmq_folder/log \
    RABBITMQ_ENABLED_PLUGINS_FILE=$rabbitmq_folder/enabled_plugins RABBITMQ_PID_FILE=$rabbitmq_folder/pid \
    rabbitmq-server -detached >&2
}

rabbitmq() {
  local url=${DOORMAN_TEST_RABBITMQ_URL:-amqp://guest:guest@127.0.0.1:5672}
  if ! rabbitmq_answers "$url"; then
    local host port
    read -r host port < <(rabbitmq_place "$url")
    case $host in
      127.0.0.1 | localhost) ;;
      *) fail "no RabbitMQ answers at $host:$port, which DOORMAN_TEST_RABBITMQ_URL names, and it is not this machine" ;;
    esac
    # Whoever has the port is left alone.
    if listening 127.0.0.1 "$port"; then
      port=$rabbitmq_spare_port
    fi
    url="amqp://guest:guest@127.0.0.1:$port"
    if ! rabbitmq_answers "$url"; then
      if docker_runs; then
        rabbitmq_docker "$port"
      elif debian_root; then
        rabbitmq_debian "$port"
      else
        fail "no RabbitMQ answers at $host:$port. Start one there that lets the user guest in with the password guest, name" \
          "another one in DOORMAN_TEST_RABBITMQ_URL, or have Docker run; as root on Debian or Ubuntu this script installs one" \
          "(rabbitmq-server)"
      fi
      attempts 240 rabbitmq_answers "$url" || fail "the RabbitMQ that was started does not answer at port $port"
    fi
  fi
  printf 'export DOORMAN_TEST_RABBITMQ_URL=%q\n' "$url"
}

# --- Programs that tests run --------------------------------------------------------------------------

# program COMMAND PACKAGE...: the command is there, if need be from Debian's packages.
program() {
  local command=$1
  shift
  type -P "$command" >/dev/null && return # the functions here have such names too
  debian_root || fail "there is no $command, which tests need: apt-get install $*. As root on Debian or Ubuntu this script does"
  local package
  for package in "$@"; do
    debian_package "$package"
  done
  type -P "$command" >/dev/null || fail "there is no $command even with the packages $* installed"
}

chromium() {
  local browser=${DOORMAN_TEST_CHROMIUM:-chromium}
  if ! type -P "$browser" >/dev/null; then
    [[ $browser == chromium ]] || fail "DOORMAN_TEST_CHROMIUM names $browser, which is not there"
    program chromium chromium
  fi
  printf 'export DOORMAN_TEST_CHROMIUM=%q\n' "$(type -P "$browser")"
}

# node: with the packages that tests and bundles need, in the versions of the lock files.
node() {
  program node nodejs
  local root folder
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  for folder in "$root/notify/client" "$root/cmd/demo" "$root/deploy/asyncapi" "$root/deploy/examples/node"; do
    if ! cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed"; then
      program npm npm
      say "installing what $folder/package-lock.json names"
      npm ci --prefix "$folder" --no-audit --no-fund >&2
      cp "$folder/package-lock.json" "$folder/node_modules/.installed"
    fi
  done
}

# python: with pika. Debian's package is for Debian's Python, which need not be the first on the PATH.
python() {
  local python=${DOORMAN_TEST_PYTHON:-}
  if [[ -z $python ]]; then
    python=$(python_with_pika) || {
      debian_root || fail "there is no python3 with pika, which tests need: apt-get install python3-pika, or name a Python" \
        "that has it in DOORMAN_TEST_PYTHON. As root on Debian or Ubuntu this script installs it"
      debian_package python3-pika
      python=$(python_with_pika) || fail "there is no python3 with pika even with the package python3-pika installed"
    }
  fi
  "$python" -c 'import pika' 2>/dev/null || fail "DOORMAN_TEST_PYTHON names $python, which has no pika"
  printf 'export DOORMAN_TEST_PYTHON=%q\n' "$python"
}

python_with_pika() {
  local candidate
  for candidate in $(type -aP python3) /usr/bin/python3; do
    if "$candidate" -c 'import pika' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

# --- All of them --------------------------------------------------------------------------------------

main() {
  local service
  local all=(postgres rabbitmq chromium node python)
  (($# > 0)) || set -- "${all[@]}"
  for service in "$@"; do
    case $service in
      postgres | rabbitmq | chromium | node | python) "$service" ;;
      *) fail "there is no service $service: the services are ${all[*]}" ;;
    esac
  done
}

main "$@"
