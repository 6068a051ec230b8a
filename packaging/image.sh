#!/bin/sh
# Runs the steps of the image's Dockerfile in a Debian folder, makes a server in it as the official image's
# entrypoint does, and tries the index and the command there.
# usage, as root on Debian or Ubuntu:  packaging/image.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d /var/tmp/dcsh-image.XXXXXX)
trap 'rm -rf --one-file-system "$folder"' EXIT
chmod 755 "$folder"
"$here/clean-debian" trixie "" true
python3 "$here/rehearse.py" "$here/image/Dockerfile" "$folder/build"
root=$folder/build/last
cp "$here/check_extension.sql" "$root/tmp"
du -sh --apparent-size "$root" | cut -f1
unshare -m sh -euc "
  mount -t proc proc '$root/proc'; mount --rbind /dev '$root/dev'
  exec chroot '$root' su postgres -s /bin/bash -c '
    export PATH=\$PATH:/usr/lib/postgresql/17/bin:/opt/dcsh-pg/bin POSTGRES_USER=postgres POSTGRES_DB=maps
    export LANG=C.UTF-8 PGHOST=/tmp HOME=/var/lib/postgresql
    cd /tmp
    initdb -D data -U postgres --auth=trust >/dev/null
    pg_ctl -D data -w -l log -o \"-k /tmp -c listen_addresses=\" start >/dev/null
    trap \"pg_ctl -D data -m fast stop >/dev/null\" EXIT
    createdb maps
    sed s#/var/run/postgresql#/tmp# /docker-entrypoint-initdb.d/dcsh.sh >init.sh
    bash init.sh
    createdb other
    psql -qAtX -v ON_ERROR_STOP=1 -d other -f check_extension.sql
    dcsh-pg db status --dsn \"host=/tmp user=postgres dbname=maps\"'"
