# Sourced with $ddt_name set, and $ddt_self, the script without symbolic links. Finds the project and a Node.js that
# is new enough: sets $ddt_home and $ddt_node, or says what to do and exits with 2.
ddt_home=${ddt_self%/*/*}
ddt_node=
# Not node_modules/.bin/node: the npm of Debian 12 and 13 (9.2) does not make that link, since there are two optional
# packages with a program of this name. Only the one for this machine is installed.
for ddt_own in "$ddt_home"/node_modules/node-linux-*/bin/node; do :; done
for ddt_candidate in "$ddt_own" node; do
  # 24.15 is the first with the node:sqlite used here and stable type stripping. --version answers at once.
  case $("$ddt_candidate" --version 2>/dev/null) in
    v24.1[5-9].* | v24.[2-9]?.* | v2[5-9].* | v[3-9]?.*)
      ddt_node=$ddt_candidate
      break
      ;;
  esac
done
if [ -z "$ddt_node" ]; then
  if [ -e "$ddt_own" ] && ! ddt_reason=$("$ddt_own" --version 2>&1); then
    echo "$ddt_name: error: the Node.js that came with npm ci does not run: $ddt_reason" >&2
    case $ddt_reason in
      *libatomic*) echo "$ddt_name: hint: apt-get install libatomic1" >&2 ;;
    esac
    exit 2
  fi
  ddt_found=$(node --version 2>/dev/null || echo 'no node at all')
  echo "$ddt_name: error: no Node.js 24.15 or newer was found, here or on the PATH ($ddt_found)" >&2
  echo "$ddt_name: hint: cd $ddt_home && npm ci   (brings its own Node.js for x64 and arm64 Linux)" >&2
  exit 2
fi
if [ ! -e "$ddt_home/node_modules/commander" ]; then
  echo "$ddt_name: error: the packages of dd-transfer are not installed in $ddt_home" >&2
  echo "$ddt_name: hint: cd $ddt_home && npm ci" >&2
  exit 2
fi
