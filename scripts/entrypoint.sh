#!/bin/sh
# What every command of a container begins with: `apollo …`, with no more rights than it needs, and SIGTERM obeyed.
#
# Where the platform says the user (compose, Pulumi) it is left as it is. Where it cannot (Render starts the image's
# own, which is root), webserver, daemon and migrate become user 10001, and the code host keeps the right to become its
# tenants' users, and no other. So does what executes one run elsewhere. What a person runs by hand, such as `init` in a clone of theirs, keeps the user it has.
set -eu
[ "${1:-}" != apollo ] || shift # a platform's own command may stand after the entry point or in place of it
role=${1:-}
set -- /opt/venv/bin/apollo "$@"
[ $$ -ne 1 ] || set -- tini -- "$@"
[ "$(id -u)" -eq 0 ] || exec setpriv --no-new-privs "$@"

case $role in
code | run) ;;
daemon)
    groups=--clear-groups # or that of the engine's socket, where it was given one: it starts containers
    [ ! -S /var/run/docker.sock ] || groups=--groups=$(stat -c %g /var/run/docker.sock)
    exec setpriv --reuid 10001 --regid 10001 "$groups" --no-new-privs "$@"
    ;;
webserver | migrate) exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs "$@" ;;
*) exec setpriv --no-new-privs "$@" ;;
esac
while read -r name value; do
    [ "$name" != CapBnd: ] || bounding=$value
done </proc/self/status
if [ "$bounding" = 00000000000000c0 ]; then # SETGID and SETUID, as the platform gave them
    exec setpriv --no-new-privs "$@"
fi
exec setpriv --bounding-set=-all,+setgid,+setuid --no-new-privs "$@"
