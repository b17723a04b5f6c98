# shellcheck shell=bash
# What the stack's scripts share: names, messages, Compose. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

# Print each argument on a line of its own.
say() {
    printf '%s\n' "$@"
}

# End with one line that says what is wrong and what to do.
fail() {
    printf 'haven: %s\n' "$*" >&2
    exit 1
}

# Take the settings of .env (or of HAVEN_ENV_FILE) that the environment does not have already, as Compose does.
read_settings() {
    local line name file=${HAVEN_ENV_FILE:-.env}
    [ -r "$file" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        [[ $line =~ ^([A-Za-z_][A-Za-z_0-9]*)=(.*)$ ]] || continue
        name=${BASH_REMATCH[1]}
        [ -n "${!name+set}" ] || export "$name=${BASH_REMATCH[2]}"
    done <"$file"
}

read_settings
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-haven}
project=$COMPOSE_PROJECT_NAME
prefix=${HAVEN_IMAGE_PREFIX:-haven}
tag=${HAVEN_IMAGE_TAG:-latest}

# A second copy of the stack keeps its root token apart from the first one's.
state=.haven
[ "$project" = haven ] || state=.haven/$project

image_exists() {
    docker image inspect "$1" >/dev/null 2>&1
}

need_docker() {
    command -v docker >/dev/null || fail "Docker is missing: install Docker Engine 20.10 or later"
    docker version --format '{{.Server.Version}}' >/dev/null 2>&1 ||
        fail "Docker does not answer: start it (systemctl start docker), and check that this user may use it"
}

# Print the parent of the containers' control groups where Docker's own will not do. With the driver cgroupfs all
# containers together weigh as much as a single thread of Docker, whose work on one that died delays its successor.
cgroup_parent() {
    [ "$(docker info --format '{{.CgroupDriver}}' 2>/dev/null)" != cgroupfs ] || echo /
}

# Run Compose v2: Docker's own plug-in, or the one in .cache/bin.
compose() {
    export HAVEN_CGROUP_PARENT=${HAVEN_CGROUP_PARENT-$(cgroup_parent)}
    if docker compose version >/dev/null 2>&1; then
        docker compose --file "$root/docker-compose.yml" "$@"
        return
    fi
    [ -x .cache/bin/docker-compose ] || scripts/fetch-tools docker-compose >/dev/null ||
        fail "there is no Compose v2: install Docker's Compose plug-in"
    .cache/bin/docker-compose --file "$root/docker-compose.yml" "$@"
}

# Print the id of this project's container of a service, running or not.
container() {
    docker ps --all --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1" | head -n 1
}

# Print the id of this project's container of a service if it runs.
running() {
    docker ps --quiet --filter "label=com.docker.compose.project=$project" \
        --filter "label=com.docker.compose.service=$1" --filter status=running | head -n 1
}
