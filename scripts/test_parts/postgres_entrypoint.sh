#!/bin/bash
# The part of the official Postgres image's entry point that compose files lean on.
set -eo pipefail

# POSTGRES_PASSWORD_FILE and the like: the value is in a file.
from_file() {
    local file="${1}_FILE"
    [[ -z ${!file:-} ]] || export "$1=$(<"${!file}")"
}

[[ ${1:0:1} != - ]] || set -- postgres "$@"
[[ $1 == postgres ]] || exec "$@"
if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres: "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql "$0" "$@"
fi
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    from_file POSTGRES_PASSWORD
    from_file POSTGRES_USER
    from_file POSTGRES_DB
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    if [[ -z ${POSTGRES_PASSWORD:-} && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        exit 1
    fi
    read -ra more <<<"${POSTGRES_INITDB_ARGS:-}"
    initdb -D "$PGDATA" --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-unused}") \
        --encoding=UTF8 --locale=C.UTF-8 "${more[@]}"
    printf 'host all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    query=(psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$user")
    if [[ $database != postgres ]]; then
        "${query[@]}" -d postgres -v database="$database" <<<'CREATE DATABASE :"database";'
    fi
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) bash "$script" ;;
            *.sql) "${query[@]}" -d "$database" -f "$script" ;;
        esac
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
exec "$@" -c listen_addresses='*'
