# Sourced by ddt-send and ddt-receive: finds the project's folder through symlinks and a Node that is new enough,
# then runs "$1/main.ts". Sets $ddt_name before sourcing.
ddt_home=$(dirname "$(dirname "$(readlink -f "$0")")")
ddt_own=$ddt_home/node_modules/.bin/node
for ddt_node in "$ddt_own" node; do
  # 24.15 is the first with node:sqlite as it is used here and stable type stripping. Asked this way it answers at once.
  case $("$ddt_node" --version 2>/dev/null) in
    v24.1[5-9].* | v24.[2-9]?.* | v2[5-9].* | v[3-9]?.*) ddt_is_new=yes ;;
    *) ddt_is_new=no ;;
  esac
  if [ $ddt_is_new = yes ]; then
    if [ ! -e "$ddt_home/node_modules/commander" ]; then
      echo "$ddt_name: error: the packages of dd-transfer are not installed in $ddt_home" >&2
      echo "$ddt_name: hint: cd $ddt_home && npm ci" >&2
      exit 2
    fi
    ddt_part=$1
    shift
    # Reads, writes, flushes, digests and decoding share libuv's pool (its own default is four threads). Eight for the
    # receiver: one slow flush must not hold up the others. For the sender eight more than it has connections at most:
    # a disk with bad sectors can keep as many reads waiting for minutes, and a thread costs nothing until it is used.
    ddt_threads=8
    if [ "$ddt_part" = sender ]; then ddt_threads=72; fi
    export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-$ddt_threads}"
    # What Node makes of the sources is kept: the next start takes a third of the time. Only in a home that is the
    # user's own, or the cache would be a way to run code as root.
    if [ -n "${HOME:-}" ] && [ -O "$HOME" ]; then
      export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$HOME/.cache/dd-transfer}"
    fi
    exec "$ddt_node" --disable-warning=ExperimentalWarning "$ddt_home/$ddt_part/main.ts" "$@"
  fi
done
if [ -e "$ddt_own" ] && ! ddt_reason=$("$ddt_own" --version 2>&1); then
  echo "$ddt_name: error: the Node.js that came with npm ci does not run: $ddt_reason" >&2
  case $ddt_reason in
    *libatomic*) echo "$ddt_name: hint: apt-get install libatomic1" >&2 ;;
  esac
  exit 2
fi
echo "$ddt_name: error: no Node.js 24.15 or newer was found, here or on the PATH ($(node --version 2>/dev/null || echo 'no node at all'))" >&2
echo "$ddt_name: hint: cd $ddt_home && npm ci   (brings its own Node.js for x64 and arm64 Linux)" >&2
exit 2
