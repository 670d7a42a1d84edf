# Sourced with $ddt_name, $ddt_main and $ddt_self set: runs $ddt_main, a path in the project, with the arguments.
# SIGUSR1 asks for progress (common/progress-signal.ts): until there is an answer it is ignored by this shell, and
# blocked by Node.js, which would open its debugger.
trap '' USR1
. "${ddt_self%/*}/find-node.sh"
# libuv's thread pool does all reads but runs of zeros, and all writes, flushes, digests and decoding; its default is
# four threads. Eight keep the receiver going during a slow flush. The sender gets eight more than its 64 connections:
# on a disk with bad sectors each of them can wait minutes for a read, and an idle thread costs nothing.
case $ddt_main in
  receiver/*) export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-8}" ;;
  sender/*) export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-72}" ;;
esac
# The compile cache makes the next start three times as fast. It goes only into a home that belongs to the user:
# elsewhere somebody could plant code in it that root would run.
case ${HOME:-} in
  /*) if [ -O "$HOME" ]; then export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$HOME/.cache/dd-transfer}"; fi ;;
esac
# The receiver gives up the rights of root once everything is open, and no program that it runs can get them back
# (receiver/privileges.ts). A ring of io_uring would keep them, whatever libuv's default is.
ddt_under=
case $ddt_main in
  receiver/*)
    export UV_USE_IO_URING=0
    if command -v setpriv >/dev/null; then ddt_under='setpriv --no-new-privs'; fi
    ;;
esac
exec $ddt_under "$ddt_node" --disable-sigusr1 --disable-warning=ExperimentalWarning "$ddt_home/$ddt_main" "$@"
