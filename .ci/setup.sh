#!/usr/bin/env bash
# Makes this checkout usable on a fresh Debian or Ubuntu that has only python3 (>= 3.11) and make.
#
#   .ci/setup.sh STAGE     STAGE: demo | test | lint | bench
#
# Does, and skips what is already done: installs missing system packages (root or passwordless sudo;
# otherwise one line says what to run), creates .venv, installs the dependencies of the stage into
# it, compiles ext/. A finished stage leaves .venv/ready-STAGE, so that the next run only asks the
# compiler what changed. PYTHON names the interpreter (default python3).

set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" # where Debian keeps nginx and haproxy; not in a user's PATH

stage=${1:?usage: .ci/setup.sh demo|test|lint|bench}
venv=.venv

say() { echo "setup: $*" >&2; }
fail() { say "$@"; exit 1; }

case $stage in
    demo) extras= tools="curl" ;;
    test) extras='[test]' tools="nginx haproxy hatop varnishd wrk node npm systemd-analyze ip" ;;
    lint) extras='[test,lint]' tools= ;;
    bench) extras='[test,load]' tools="nginx haproxy varnishd wrk" ;;
    *) fail "unknown stage '$stage'; one of demo, test, lint, bench" ;;
esac

# --- the interpreter ------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

pick_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 /usr/bin/python3; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "needs Python 3.11 or newer; '${PYTHON:-python3}' is not. Name one: make $stage PYTHON=..."
}

# --- system packages ------------------------------------------------------------------------------

# Debian's name for an add-on of this interpreter: python3-dev, or python3.12-dev for a second one.
python_package() {
    local version debian_version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    debian_version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
    if [ "$version" = "$debian_version" ]; then echo "python3-$1"; else echo "python$version-$1"; fi
}

has_headers() {
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
}

# Debian ships `venv` without `ensurepip` unless python3-venv is installed.
has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }

can_compile() { echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1; }

missing_packages() {
    can_compile || echo gcc libc6-dev
    has_headers || python_package dev
    has_venv || python_package venv
    local tool
    for tool in $tools; do
        command -v "$tool" >/dev/null && continue
        case $tool in
            nginx) echo nginx-light ;;
            varnishd) echo varnish ;;
            node) echo nodejs ;;
            ip) echo iproute2 ;;
            systemd-analyze) echo systemd ;; # its tools only: nothing is started
            *) echo "$tool" ;;
        esac
    done
}

# What a build cannot do without; the rest only makes tests skip (where CI does not forbid that).
is_required() {
    case $1 in nginx-light | haproxy | hatop | varnish | wrk | curl | nodejs | npm | systemd | iproute2) [ "${CI:-}" = true ] ;; *) true ;; esac
}

run_as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null
}

# Installs without starting the daemons that come along: nobody asked for an nginx on port 80.
apt_install() {
    local policy=/usr/sbin/policy-rc.d
    say "installing $*"
    if [ ! -e $policy ]; then
        # shellcheck disable=SC2064 # the name as it is now
        trap "run_as_root rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | run_as_root tee $policy >/dev/null
        run_as_root chmod +x $policy
    fi
    local quiet="-qq -o=Dpkg::Use-Pty=0"
    { run_as_root apt-get $quiet update &&
        run_as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get $quiet install -y --no-install-recommends "$@"; } >/dev/null
}

install_system_packages() {
    local missing package
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    # shellcheck disable=SC2086 # a list of words
    if may_install && apt_install $missing; then return; fi
    for package in $missing; do
        if is_required "$package"; then
            fail "missing system packages; run: sudo apt-get install -y $missing"
        fi
    done
    say "some things will be skipped; for all of them run: sudo apt-get install -y $missing"
}

# --- the virtual environment ----------------------------------------------------------------------

pip() { "$venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

# A stage is ready while its inputs are older than the stamp and the checkout was not moved.
is_ready() {
    local stamp=$venv/ready-$stage
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$PWD" ] && "$venv/bin/python" -c '' 2>/dev/null &&
        [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt .ci/setup.sh ]
}

prepare() {
    python=$(pick_python)
    install_system_packages
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "creating $venv with $python"
        "$python" -m venv --clear "$venv"
    fi
    say "installing the dependencies for $stage"
    # shellcheck disable=SC2046 # a list of words
    pip install $("$venv/bin/python" -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
    EDGE_NO_EXT=1 pip install --no-build-isolation --editable ".$extras"
    echo "$PWD" >"$venv/ready-$stage"
}

compile() {
    local log=$venv/compile.log
    "$venv/bin/python" setup.py --quiet build_ext --inplace -j"$(nproc)" >"$log" 2>&1 && return
    cat "$log" >&2
    fail "ext/ did not compile"
}

is_ready || prepare
compile
