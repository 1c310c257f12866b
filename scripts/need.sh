#!/bin/sh
# Usage: scripts/need.sh build|guests|tests ...
# Says which tools are missing, all at once, and which Debian package has them.
# For `guests` it adds the WebAssembly target to the Rust toolchain.
set -eu

missing=0
named=

# need PROGRAM WHERE-TO-GET-IT WHAT-FOR
need() {
    case " $named " in *" $1 "*) return ;; esac
    if ! command -v "$1" >/dev/null 2>&1; then
        named="$named $1"
        echo "missing: $1, $3; install $2" >&2
        missing=1
    fi
}

rust() {
    need cargo "Rust with rustup: https://rustup.rs" "which builds everything"
}

for what in "$@"; do
    case $what in
    build)
        rust
        need cc "the package gcc" "which builds librdkafka, OpenSSL and zstd"
        need c++ "the package g++" "which librdkafka's configure asks for"
        need make "the package make" "which builds librdkafka and OpenSSL"
        need perl "the package perl" "which configures OpenSSL"
        # Debian's perl-base has the program and not all that it is to load.
        if command -v perl >/dev/null 2>&1 && ! perl -MFindBin -e 1 2>/dev/null; then
            echo "missing: perl's FindBin, with which OpenSSL is configured; install the package perl" >&2
            missing=1
        fi
        ;;
    guests)
        rust
        ;;
    tests)
        need java "the package openjdk-17-jre-headless" "which runs Apache Kafka for the tests"
        need mvn "the package maven" "which fetches Apache Kafka for the tests"
        if command -v java >/dev/null 2>&1; then
            # The first line is like: openjdk version "17.0.12" 2024-07-16
            version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
            if [ "${version:-0}" -lt 17 ]; then
                echo "missing: Java 17 or later for Apache Kafka; this is ${version:-unknown}; install the package openjdk-17-jre-headless" >&2
                missing=1
            fi
        fi
        ;;
    *)
        echo "usage: $0 build|guests|tests ..." >&2
        exit 2
        ;;
    esac
done

[ "$missing" -eq 0 ] || exit 1

for what in "$@"; do
    [ "$what" = guests ] || continue
    # A toolchain that is not rustup's may have the target, too.
    if [ ! -d "$(rustc --print target-libdir --target wasm32-wasip2)" ]; then
        need rustup "rustup: https://rustup.rs" "which adds the target wasm32-wasip2"
        [ "$missing" -eq 0 ] || exit 1
        rustup target add wasm32-wasip2
    fi
done
