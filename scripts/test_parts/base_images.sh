#!/usr/bin/env bash
# base_images.sh: the images that ours begin with, made from Debian packages for the tests' own engine, which reaches no
# image registry. They bear the names and keep the conventions of the official ones, so that Dockerfile and compose file
# are those of any machine; what is particular to this one (mirrors, certificates, pip's settings) is inside of them.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/test_parts/cache.sh
source "$here/cache.sh"
# shellcheck source=scripts/test_parts/debian.sh
source "$here/debian.sh"

PYTHON=3.11 PYTHON_SUITE=bookworm    # the release that has this Python itself
POSTGRES=17 SUITE=trixie
PYTHON_NAMES="python:$PYTHON-slim python:$PYTHON-slim-$PYTHON_SUITE"
POSTGRES_NAMES="postgres:$POSTGRES postgres:$POSTGRES-$SUITE"
CADDY_NAMES=caddy:2
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt
SBIN=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What can be had: a test holds Dockerfile and topology to it.
names() { tr ' ' '\n' <<<"$PYTHON_NAMES $POSTGRES_NAMES $CADDY_NAMES"; }

# What every image gets of this machine, below the folder that becomes its root.
machine_parts() {
    local root=$1
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    { apt-config dump | grep -E '^Acquire::(https?::Proxy|https::(CaInfo|Verify-Peer)|Check-(Valid-Until|Date)|Retries)' |
        grep -v ' "";$'; } >"$root/etc/apt/apt.conf.d/99machine" || true
    # As in Debian's own images: without it every layer with an `apt-get update` carries 70 MB of cache.
    cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'END'
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Acquire::Languages "none"; Acquire::GzipIndexes "true"; Apt::AutoRemove::SuggestsImportant "false";
END
}

# The folder of a Python of this machine that can be moved into the image, as the official one keeps it in /usr/local;
# nothing: Debian's package is taken.
movable_python() {
    local candidate
    for candidate in "python$PYTHON" python3; do
        "$candidate" -c "import sys
if sys.version_info[:2] == tuple(map(int, '$PYTHON'.split('.'))) and sys.base_prefix != '/usr':
    print(sys.base_prefix)" 2>/dev/null && return
    done
    return 0
}

furnish_python() {
    local root=$1 local=$1/usr/local from
    machine_parts "$root"
    {
        printf '[global]\ncert = %s\n' "$CERTIFICATES"
        python3 -m pip config list 2>/dev/null | sed -nE \
            "s/^(global|install|:env:)\.(index-url|extra-index-url|trusted-host|proxy|default-timeout|timeout|retries)='(.*)'$/\2 = \3/p" |
            sort -u
    } >"$root/etc/pip.conf"
    from=$(movable_python)
    if [[ -n $from ]]; then
        mkdir -p "$local/bin" "$local/lib" "$local/include"
        cp -a "$from/bin/python$PYTHON" "$local/bin/"
        cp -a "$from"/lib/libpython3*.so* "$local/lib/" 2>/dev/null || true
        cp -a "$from/include/python$PYTHON" "$local/include/"
        tar -C "$from/lib" --exclude="python$PYTHON/site-packages" --exclude="python$PYTHON/test" \
            --exclude='__pycache__' --exclude='*/idlelib' --exclude='libpython*.a' -cf - "python$PYTHON" |
            tar -C "$local/lib" -xf -
        mkdir -p "$local/lib/python$PYTHON/site-packages"
        grep -rlIF "$from" "$local/lib/python$PYTHON"/_sysconfigdata* "$local/lib/python$PYTHON"/config-* 2>/dev/null |
            xargs -r sed -i "s#$from#/usr/local#g"
        chroot "$root" ldconfig
        chroot "$root" "/usr/local/bin/python$PYTHON" -E -s -m ensurepip >/dev/null
    else
        rm -f "$root/usr/lib/python$PYTHON/EXTERNALLY-MANAGED"
        ln -sf "/usr/bin/python$PYTHON" "$local/bin/python$PYTHON"
        ln -sf /usr/bin/pip3 "$local/bin/pip3"
    fi
    ln -sf "python$PYTHON" "$local/bin/python3"
    ln -sf python3 "$local/bin/python"
    ln -sf pip3 "$local/bin/pip"
}

furnish_postgres() {
    local root=$1
    machine_parts "$root"
    rm -rf "$root/etc/postgresql/$POSTGRES/main" "$root/var/lib/postgresql/$POSTGRES"
    mkdir -p "$root/docker-entrypoint-initdb.d"
    chroot "$root" install -d -o postgres -g postgres -m 1777 /var/lib/postgresql/data /var/run/postgresql
    install -m 755 "$here/postgres_entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
}

furnish_caddy() {
    local root=$1
    machine_parts "$root"
    mkdir -p "$root/config/caddy" "$root/data/caddy" "$root/srv"
    printf ':80\n\nroot * /usr/share/caddy\nfile_server\n' >"$root/etc/caddy/Caddyfile"
}

# make_image KIND SUITE PACKAGES NAMES CHANGE...: unless an image made by this very recipe bears the names.
make_image() {
    local kind=$1 suite=$2 packages=$3 names first name change options=() archive=$ENGINE/tmp/$1.tar
    read -ra names <<<"$4"
    first=${names[0]}
    shift 4
    if [[ $(docker image inspect --format '{{index .Config.Labels "recipe"}}' "$first" 2>/dev/null) != "$recipe" ]]; then
        # shellcheck disable=SC2016  # mmdebstrap's shell expands the hooks
        debian_sources "$suite" | mmdebstrap --variant=minbase --mode=root --include="ca-certificates,tzdata,$packages" \
            --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-include=/usr/share/doc/*/copyright' \
            --customize-hook="'$here/base_images.sh' furnish_$kind \"\$1\"" \
            --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*' \
            "$suite" "$archive" - 2>"$ENGINE/log/$kind.log" || { tail -5 "$ENGINE/log/$kind.log" >&2; return 1; }
        for change in "$@" "ENV LANG=C.UTF-8" "LABEL recipe=$recipe"; do
            options+=(--change "$change")
        done
        docker import "${options[@]}" "$archive" "$first" >/dev/null
        rm -f "$archive"
    fi
    for name in "${names[@]:1}"; do
        docker tag "$first" "$name"
    done
}

make_images() {
    local python_packages="python$PYTHON,python3-venv,python3-pip"
    [[ -z $(movable_python) ]] ||
        python_packages=libssl3,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,zlib1g,libreadline8,libncursesw6,libuuid1,libgdbm6,libexpat1
    make_image python "$PYTHON_SUITE" "netbase,$python_packages" "$PYTHON_NAMES" \
        "ENV PATH=/usr/local/bin:$SBIN" "ENV SSL_CERT_FILE=$CERTIFICATES" "ENV REQUESTS_CA_BUNDLE=$CERTIFICATES" \
        "ENV PIP_CERT=$CERTIFICATES" 'CMD ["python3"]'
    docker run --rm --network none "python:$PYTHON-slim" python -c 'import bz2, ctypes, lzma, pip, readline, sqlite3, ssl'
    make_image postgres "$SUITE" "postgresql-$POSTGRES" "$POSTGRES_NAMES" \
        "ENV PATH=/usr/lib/postgresql/$POSTGRES/bin:$SBIN" "ENV PGDATA=/var/lib/postgresql/data" \
        "ENV PG_MAJOR=$POSTGRES" 'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]' 'EXPOSE 5432' \
        'VOLUME /var/lib/postgresql/data' 'STOPSIGNAL SIGINT'
    make_image caddy "$SUITE" caddy "$CADDY_NAMES" "ENV PATH=$SBIN" "ENV XDG_CONFIG_HOME=/config" "ENV XDG_DATA_HOME=/data" \
        'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]' 'EXPOSE 80' 'EXPOSE 443' \
        'EXPOSE 443/udp' 'EXPOSE 2019' 'VOLUME /config' 'VOLUME /data' 'WORKDIR /srv'
}

# mmdebstrap calls this script again, to furnish the folder that it has filled; the tests ask for the names.
if (($#)); then
    "$@"
    exit
fi
if [[ ${DOCKER_HOST:-} != "unix://$ENGINE/docker.sock" ]]; then
    exit 0    # another engine than the tests' own pulls what it needs
fi
mkdir -p "$ENGINE/tmp" "$ENGINE/log"
chmod 755 "$ENGINE" "$ENGINE/tmp"
export TMPDIR=$ENGINE/tmp
exec 7>"$ENGINE/images.lock"
flock 7
rm -rf --one-file-system "${TMPDIR:?}"/*    # what a killed run left
recipe=$(cat "$here/base_images.sh" "$here/postgres_entrypoint.sh" | sha256sum | cut -c1-12)
make_images
