# shellcheck shell=bash
# Sourced: Debian packages of any suite, from wherever this machine's apt gets its own, and without installing them.
# No host is named here: mirrors, proxies and certificates are those of the machine's configuration.

DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# is_debian: packages can be had and, by root, images of Debian be made.
is_debian() { [[ -e $DEBIAN_KEYRING ]] && command -v apt-get >/dev/null && grep -qx 'ID=debian' /etc/os-release; }

# debian_sources SUITE: the lines of a sources.list.
debian_sources() {
    local suite=$1 codename targets main security
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016  # apt's own placeholders
    targets=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' | sort -u)
    main=$(awk -v codename="$codename" '$2 == codename { print $1; exit }' <<<"$targets")
    security=$(awk '$2 ~ /-security$/ { print $1; exit }' <<<"$targets")
    [[ -n $main ]] || { say "apt has no source for $codename"; return 1; }
    echo "deb [signed-by=$DEBIAN_KEYRING] $main $suite main"
    echo "deb [signed-by=$DEBIAN_KEYRING] $main $suite-updates main"
    [[ -z $security ]] || echo "deb [signed-by=$DEBIAN_KEYRING] $security $suite-security main"
}

# unpack_packages FOLDER SUITE PACKAGE...: the files of the packages, without what they depend on, below a new folder.
unpack_packages() {
    local folder=$1 suite=$2 part=$1.part
    shift 2
    rm -rf "$folder" "$part"
    mkdir -p "$part/apt/lists/partial" "$part/apt/archives/partial" "$part/packages" "$part/files"
    debian_sources "$suite" >"$part/apt/sources.list"
    cat >"$part/apt/apt.conf" <<END
Dir::Etc::sourcelist "$part/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::Lists "$part/apt/lists";
Dir::Cache "$part/apt";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
    (
        export APT_CONFIG=$part/apt/apt.conf
        cd "$part/packages" || exit
        apt-get update -qq >&2
        apt-get download -qq "$@" >&2
    )
    local package
    for package in "$part"/packages/*.deb; do
        dpkg-deb -x "$package" "$part/files"
    done
    mv "$part/files" "$folder"    # whole or not at all: a killed run begins this again
    rm -rf "$part"
}

# install_packages PACKAGE...: into the system, those that it lacks.
install_packages() {
    local package lacking=() as_root=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || lacking+=("$package")
    done
    ((${#lacking[@]})) || return 0
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    "${as_root[@]}" apt-get update -qq >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${lacking[@]}" >/dev/null
}

may_install_packages() { command -v apt-get >/dev/null && { [[ $(id -u) == 0 ]] || sudo -n true 2>/dev/null; }; }
