#!/usr/bin/env bash
# Builds a variant of the program in its own copy of the checkout and runs the tests there, so that
# the normal build stays as it is.
#
#   .ci/tree.sh debug|asan [pytest arguments]
#
# debug: counts live C objects (ext/debug.h); the counts must be zero after every test.
# asan:  address and undefined-behaviour sanitizers; leaks are not reported, since CPython itself
#        keeps memory until exit. External programs stay out: the preload would reach them too.

set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:?usage: .ci/tree.sh debug|asan [pytest arguments]}
shift
python=$PWD/.venv/bin/python
tree=build/$variant-tree

mkdir -p "$tree/ext"
rm -rf "$tree/edge" "$tree/tests" "$tree/configs" "$tree/loadtests"
find "$tree/ext" -type f ! -name '*.so' -delete
# tar keeps the time stamps: only what changed is compiled again.
tar cf - --exclude=.git --exclude=.venv --exclude=./build --exclude='*.so' --exclude=__pycache__ . |
    tar xf - -C "$tree"
cd "$tree"
export PYTHONPATH=$PWD

case $variant in
    debug) export EDGE_DEBUG=1 ;;
    asan) export EDGE_ASAN=1 ;;
    *) echo "tree: unknown variant '$variant'; one of debug, asan" >&2; exit 1 ;;
esac

log=$PWD/build/compile.log
mkdir -p build
"$python" setup.py --quiet build_ext --inplace -j"$(nproc)" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }

# What runs C, byte by byte and cut by cut. Left out is what measures memory or time, or says
# nothing about objects and memory: Python alone, or what other modules run through as well.
tests="tests/ext tests/fuzz tests/wire"
left_out="balance_wire cache_suite cache_suite_blind_spots configs farm other_tiers real_nginx volumes"
if [ "$variant" = asan ]; then
    # The sanitizers' preload would reach external programs, and many processes take minutes.
    left_out="$left_out cache_model chain operate regressions systemd workers"
fi
for module in $left_out; do
    tests="$tests --ignore=tests/wire/test_$module.py"
done
if [ "$variant" = asan ]; then
    LD_PRELOAD=$(gcc -print-file-name=libasan.so)
    export LD_PRELOAD PYTHONMALLOC=malloc
    export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
fi
# shellcheck disable=SC2086 # a list of words
exec "$python" -m pytest -q -p no:cacheprovider --benchmark-disable -m "not external" $tests "$@"
