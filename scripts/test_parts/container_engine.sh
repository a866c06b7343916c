#!/usr/bin/env bash
# container_engine.sh other|install|start|stop: a Docker engine of the tests' own, for a Debian machine that has none.
#
# Engine, command line, buildx, compose and the registry are Debian's, unpacked beside the system, with all their state
# in one folder of the cache; `. FOLDER/env.sh` makes a shell use them. `with_engine.sh` is what tests and people call:
# it prefers an engine that answers already, and stops this one after its last user.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/test_parts/cache.sh
source "$here/cache.sh"
# shellcheck source=scripts/test_parts/debian.sh
source "$here/debian.sh"

# The release that the engine is taken from: the one before has no buildx and no compose.
SUITE=trixie
PROGRAMS=$ENGINE/tools PID_FILE=$ENGINE/docker.pid SOCKET=$ENGINE/docker.sock LOG=$ENGINE/log/dockerd.log
START_TIMEOUT_SECONDS=60

answers() { docker version >/dev/null 2>&1; }

# Whether an engine answers that is not the tests' own.
other() { [[ ${DOCKER_HOST:-} != "unix://$SOCKET" ]] && answers; }

install() {
    local plugin
    if other; then
        for plugin in compose buildx; do
            docker "$plugin" version >/dev/null 2>&1 || { say "docker has no $plugin plugin: install it"; return 1; }
        done
        return
    fi
    if [[ $(id -u) != 0 ]] || ! is_debian; then
        say "install Docker (https://docs.docker.com/engine/install), start it, and let this user use it"
        return 1
    fi
    alone
    install_packages iptables runc mmdebstrap ca-certificates
    if [[ ! -e $PROGRAMS/.unpacked-$SUITE ]]; then
        unpack_packages "$PROGRAMS" "$SUITE" \
            docker.io docker-cli docker-buildx docker-compose containerd docker-registry tini
        touch "$PROGRAMS/.unpacked-$SUITE"
    fi
    mkdir -p "$ENGINE/config" "$ENGINE/log"
    printf '{"cliPluginsExtraDirs": ["%s"]%s}\n' "$PROGRAMS/usr/libexec/docker/cli-plugins" "$(proxies)" \
        >"$ENGINE/config/config.json"
    cat >"$ENGINE/env.sh" <<END
export PATH="$PROGRAMS/usr/sbin:$PROGRAMS/usr/bin:\$PATH"
export DOCKER_HOST="unix://$SOCKET"
export DOCKER_CONFIG="$ENGINE/config"
END
}

# What builds and containers are given by this machine's variables, in the words of Docker's configuration.
proxies() {
    local name key value all=""
    for name in http:httpProxy https:httpsProxy no:noProxy; do
        key=${name%%:*}_proxy
        value=${!key:-}
        key=${key^^}
        value=${value:-${!key:-}}
        [[ -z $value ]] || all="$all${all:+, }\"${name#*:}\": \"$value\""
    done
    [[ -z $all ]] || printf ', "proxies": {"default": {%s}}' "$all"
}

start() {
    alone
    # shellcheck disable=SC1091  # written by install
    source "$ENGINE/env.sh"
    answers && return
    # Two engines in one network namespace wreck each other's bridge and firewall rules. ENGINE_PREFIX='unshare -n' gives
    # this one a namespace of its own, from which containers reach nothing outside.
    if [[ -z ${ENGINE_PREFIX:-} ]] && pgrep -x dockerd >/dev/null; then
        say "another Docker engine runs on this machine and does not answer this user: start it, or give the user access"
        return 1
    fi
    rm -f "$PID_FILE" "$SOCKET"
    # --mtu is about the default bridge alone; compose makes networks of its own, hence the second option.
    # shellcheck disable=SC2086  # a prefix is several words
    setsid nohup ${ENGINE_PREFIX:-} dockerd --data-root "$ENGINE/data" --exec-root "$ENGINE/exec" --pidfile "$PID_FILE" \
        --host "unix://$SOCKET" --mtu 1400 --default-network-opt=bridge=com.docker.network.driver.mtu=1400 \
        >"$LOG" 2>&1 </dev/null 8>&- 9>&- &
    local process=$! deadline=$((SECONDS + START_TIMEOUT_SECONDS))
    until answers; do
        if ((SECONDS > deadline)) || ! kill -0 "$process" 2>/dev/null; then
            say "the container engine does not start here:"
            tail -5 "$LOG" >&2
            return 1
        fi
        sleep 0.2
    done
}

stop() {
    alone
    [[ -s $PID_FILE ]] || return 0
    local process deadline=$((SECONDS + START_TIMEOUT_SECONDS))
    process=$(<"$PID_FILE")
    kill "$process" 2>/dev/null || return 0
    while kill -0 "$process" 2>/dev/null && ((SECONDS < deadline)); do
        sleep 0.2
    done
}

# Two at once: the second finds the work of the first.
alone() {
    mkdir -p "$ENGINE"
    exec 9>"$ENGINE/lock"
    flock 9
}

case ${1:-} in
    other | install | start | stop) "$1" ;;
    *) say "usage: container_engine.sh other|install|start|stop"; exit 2 ;;
esac
