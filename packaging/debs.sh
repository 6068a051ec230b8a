#!/bin/sh
# Builds postgresql-NN-dcsh-hamming for every PostgreSQL of a Debian release, then installs and tries it
# in a clean one.
# usage, as root on Debian or Ubuntu:  packaging/debs.sh [SUITE]      (the packages are in dist/ afterwards)
set -eu
suite=${1:-trixie}
here=$(cd "$(dirname "$0")" && pwd)
rm -f "$here"/../dist/*.deb
"$here/clean-debian" "$suite" "build-essential debhelper devscripts postgresql-server-dev-all" sh -euc '
    version=$(dpkg-parsechangelog -l packaging/debian/changelog -S Version)
    source=/tmp/postgresql-dcsh-hamming-${version%-*}
    cp -rL sql/hamming_index "$source"
    tar -C /tmp -cJf "/tmp/postgresql-dcsh-hamming_${version%-*}.orig.tar.xz" "${source#/tmp/}"
    cp -r packaging/debian "$source"
    cd "$source"
    pg_buildext updatecontrol
    dpkg-buildpackage -us -uc -b
    cp ../*.deb /out && rm -f /out/*-dbgsym_*'
"$here/clean-debian" "$suite" postgresql-common sh -euc '
    for deb in /out/postgresql-*-dcsh-hamming_*.deb; do
      major=$(basename "$deb" | cut -d- -f2)
      apt-get install -y -qq --no-install-recommends "$deb" >/dev/null
      pg_ctlcluster "$major" main start || pg_createcluster --start "$major" main
      su postgres -c "psql -qAtX -v ON_ERROR_STOP=1 --cluster $major/main" <packaging/check_extension.sql
      pg_ctlcluster "$major" main stop
    done'
