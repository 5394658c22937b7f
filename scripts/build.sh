# shellcheck shell=bash
# Shared by quickstart and check: the packages, the configuration, the build, the installed copy in build/prefix.
# Sourced by bash in the source root; every function ends the script with one clear line where it cannot go on.

# Debian's package | how to see that what it brings is there
packages='gcc|command -v cc
libc6-dev|have_header stdio.h
meson|command -v meson
ninja-build|command -v ninja
pkg-config|command -v pkg-config
python3|command -v python3
zlib1g-dev|pkg-config --exists zlib
libpng-dev|pkg-config --exists libpng
libjpeg-dev|pkg-config --exists libjpeg
libjansson-dev|pkg-config --exists jansson
libopenblas-openmp-dev|pkg-config --exists openblas
libdnnl-dev|have_header dnnl.h'

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
stop() {
    say "$@"
    exit 1
}

have_header() { printf '#include <%s>\n' "$1" | cc -E -x c - ; }

missing_packages() {
    local name probe
    while IFS='|' read -r name probe; do
        $probe </dev/null >/dev/null 2>&1 || printf '%s ' "$name"
    done <<<"$packages"
}

install_packages() {
    local missing as_root=() log
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    missing=${missing% }
    local by_hand="apt-get install --no-install-recommends $missing"
    command -v apt-get >/dev/null || stop "these packages are missing: $missing; install what your system calls them"
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || stop "packages are missing, and there is no sudo; as root: $by_hand"
        as_root=(sudo)
    fi
    say "installing $missing"
    log=$(mktemp)
    # An index that cannot be refreshed is no reason to stop: the packages may be in the one at hand.
    "${as_root[@]}" apt-get update -qq >"$log" 2>&1
    # shellcheck disable=SC2086 # one word for each package
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >>"$log" 2>&1
    then
        tail -n 5 "$log" >&2
        rm -f "$log"
        stop "the packages above could not be installed; as root: $by_hand"
    fi
    rm -f "$log"
    missing=$(missing_packages)
    [ -z "$missing" ] || stop "installed, but still not to be found: $missing"
}

# configure DIRECTORY OPTION...: the options that a user has set there stay. Of a tree that was moved or copied, the build
# directory still means the old place, and is made anew.
configure() {
    local directory=$1 log action=setup
    shift
    if grep -qsF "\"source\": \"$PWD\"" "$directory/meson-info/meson-info.json"; then
        action="setup --reconfigure"
    elif [ -d "$directory/meson-private" ]; then
        rm -rf "$directory"
    fi
    # shellcheck disable=SC2086
    log=$(meson $action "$directory" "$@" 2>&1) || {
        printf '%s\n' "$log" | tail -n 15 >&2
        stop "Meson could not configure $directory; its log is $directory/meson-logs/meson-log.txt"
    }
    printf '%s\n' "$log" | sed -n '/^  Found$/,/sanitizers/p'
}

compile() { ninja -C "$1" || stop "the build in $1 stopped; the first message of the compiler above says why"; }

# The build that everything else stands on: build/, installed to build/prefix.
build_and_install() {
    local werror=false
    [ "${CI:-}" = true ] && werror=true
    install_packages
    configure build "--prefix=$PWD/build/prefix" "-Dwerror=$werror"
    compile build
    meson install -C build --no-rebuild --quiet >/dev/null || stop "the installed copy in build/prefix could not be written"
}
