#!/usr/bin/env bash
# Sees to it that the services which tests need answer, and prints the environment in which tests find
# them, to be evaluated by a shell:
#
#   services="$(deploy/services.sh)"; eval "$services"
#
# A service that answers already is used as it is. Otherwise it is started with Docker; without Docker, by
# root on Debian or Ubuntu, from the distribution's package, as an instance of its own beside whatever is
# there. What was started stays: the next run finds it. Arguments choose services; all is the default.
#
# DOORMAN_TEST_POSTGRES_URL  the Postgres to use, instead of postgres@127.0.0.1:5432 without a password.
#                            On this machine it is started when it does not answer.
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

# --- All of them --------------------------------------------------------------------------------------

main() {
  local service
  for service in "${@:-postgres}"; do
    case $service in
      postgres) "$service" ;;
      *) fail "there is no service $service: the services are postgres" ;;
    esac
  done
}

main "$@"
