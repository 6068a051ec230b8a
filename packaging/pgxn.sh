#!/bin/sh
# Makes the PGXN distribution of the extension, then installs and checks it with the PGXN client in a
# clean Debian.
# usage, as root on Debian or Ubuntu:  packaging/pgxn.sh      (the archive is in dist/ afterwards)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$here/clean-debian" trixie \
  "zip pgxnclient gcc libc6-dev make postgresql-17 postgresql-17-pgvector postgresql-server-dev-17" sh -euc '
    version=$(sed -n "s/^  \"version\": \"\(.*\)\",/\1/p" packaging/pgxn/META.json)
    folder=dcsh_hamming-$version
    cp -rL sql/hamming_index "/tmp/$folder"
    cp LICENSE packaging/pgxn/META.json "/tmp/$folder"
    cp docs/hamming-index.md "/tmp/$folder/README.md"
    (cd /tmp && rm -f "/out/$folder.zip" && zip -qr "/out/$folder.zip" "$folder")
    pgxn install --yes "/out/$folder.zip"
    pg_ctlcluster 17 main start
    su postgres -c "psql -qAtX -v ON_ERROR_STOP=1" <packaging/check_extension.sql
    pg_ctlcluster 17 main stop'
