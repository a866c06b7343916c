#!/usr/bin/env bash
# tools.sh: programs in Go that the tests run, built at their pinned versions into the cache: an OpenID provider (dex),
# a runner of GitHub workflows (act), their linter (actionlint) and an S3 server (versitygw). The Go module proxy is all
# that it takes; what is on the PATH at that version is used as it is.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/test_parts/cache.sh
source "$here/cache.sh"
# shellcheck source=scripts/test_parts/debian.sh
source "$here/debian.sh"

ACT=0.2.89
ACTIONLINT=1.7.12
VERSITYGW=1.8.0
DEX=$(awk '$1 == "github.com/dexidp/dex" { print $2; exit }' "$here/dex/go.mod")
OLDEST_GO=1.21        # the first that fetches a newer one by itself, where a module asks for it
GO_SUITE=trixie       # the Debian release whose Go is as new as that

# One folder for what Go fetches and compiles, so that a killed build goes on where it was, and is gone at the end.
export GOMODCACHE=$CACHE/go/mod GOCACHE=$CACHE/go/build GOBIN=$TOOLS GOTOOLCHAIN=auto
export GOFLAGS="-modcacherw -trimpath -buildvcs=false"

go_is_new_enough() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null) || return
    [[ $(printf '%s\n' "${version#go}" "$OLDEST_GO" | sort -V | head -1) == "$OLDEST_GO" ]]
}

# Puts a Go on the PATH: the machine's, else Debian's, unpacked beside the system.
find_go() {
    go_is_new_enough go && return
    if ! is_debian; then
        say "it is built by Go $OLDEST_GO or newer, which is not on the PATH: https://go.dev/doc/install"
        return 1
    fi
    if [[ ! -e $CACHE/go/toolchain ]]; then
        unpack_packages "$CACHE/go/toolchain" "$GO_SUITE" golang-1.24-go golang-1.24-src
    fi
    export GOROOT=$CACHE/go/toolchain/usr/lib/go-1.24
    export PATH=$GOROOT/bin:$PATH
}

build() {
    find_go
    case $1 in
        dex)    # its go.mod has a `replace`, so it is built from a module of ours
            command -v gcc >/dev/null || ! may_install_packages || install_packages gcc libc6-dev
            (cd "$here/dex" && CGO_ENABLED=1 go build -o "$TOOLS/dex" github.com/dexidp/dex/cmd/dex)
            ;;
        act) go install "github.com/nektos/act@v$ACT" ;;
        actionlint) go install "github.com/rhysd/actionlint/cmd/actionlint@v$ACTIONLINT" ;;
        versitygw) go install "github.com/versity/versitygw/cmd/versitygw@v$VERSITYGW" ;;
    esac
}

# on_path NAME VERSION FLAG: the machine has it at that version, and not from here.
on_path() {
    local program
    program=$(command -v "$1") && [[ $program != "$TOOLS/"* ]] && [[ $("$program" "$3" 2>/dev/null) == *"$2"* ]] &&
        ln -sf "$program" "$TOOLS/$1"
}

# tool NAME VERSION [FLAG]: FLAG makes it say its version.
tool() {
    local name=$1 version=$2 stamp=$TOOLS/.$1-$2
    [[ -e $stamp && -x $TOOLS/$name ]] && return
    if [[ -z ${3:-} ]] || ! on_path "$name" "$version" "$3"; then
        make_part "$name" "$here/tools.sh" "$name" || return 0
    fi
    rm -f "$TOOLS/.$name-"*
    touch "$stamp"
}

if (($#)); then
    build "$1"
    exit
fi
if command -v flock >/dev/null; then    # macOS has none: there two at once build twice
    exec 6>"$CACHE/tools.lock"
    flock 6
fi
tool actionlint "$ACTIONLINT" -version
tool act "$ACT" --version
tool dex "$DEX"
tool versitygw "$VERSITYGW" --version
for name in actionlint act dex versitygw; do
    [[ ! -e $MISSING/$name ]] || exit 0    # what Go has fetched for it is there for the next try
done
if [[ -e $CACHE/go ]]; then
    chmod -R u+w "$CACHE/go"    # Go writes a toolchain that it fetches read-only
    rm -rf "$CACHE/go"
fi
