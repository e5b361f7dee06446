#!/bin/sh
# Make sure that Debian packages are there: installs the missing ones when root, else names them and fails.
# Usage: tools/system_packages.sh PACKAGE…
command -v dpkg-query >/dev/null || exit 0 # not a Debian: the tools themselves will say what they miss

missing=
for package in "$@"; do
    # a newer release may carry libglib2.0-0 as libglib2.0-0t64, which provides the old name
    dpkg-query -W -f '${Package} ${Provides} ${db:Status-Status}\n' 2>/dev/null |
        grep -Eq "(^| )$package( .*)? installed$" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

install="apt-get update && apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" -eq 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    echo "$install"
    eval "$install" >/dev/null
else
    echo "These system packages are missing:$missing. Install them, then run make again:" >&2
    echo "  sudo sh -c '$install'" >&2
    exit 1
fi
