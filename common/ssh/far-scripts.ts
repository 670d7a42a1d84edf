/**
 * What is run on the far machine, for any POSIX sh with the usual programs beside it. `say` prints a line
 * that comes back (ssh-client.ts). Nothing is written outside of the base folder. Pure.
 */
import { shellWord } from '../text.ts';
import type { Role } from './far-program.ts';

/** Where things are on the far machine. */
export interface FarPlaces {
  /** Of programs and of the transfers' folders; survives a reboot. */
  readonly base: string;
  /** 16 hexadecimal digits, of the target. */
  readonly transfer: string;
}

/** How long a receiver may take from its start until it listens: the journal of a large disk is read. */
const START_SECONDS = 120;
/** How long it has to end when it is asked to. */
const STOP_SECONDS = 15;

/**
 * Says `os`, `root` (yes, sudo, no), `from` (where the login comes from), `program` (a digest, of each one
 * there), and `path` (of others).
 */
export function askScript(base: string, role: Role): string {
  return `
base=${shellWord(base)}
say "os=$(uname -sm)"
say "user=$(id -un 2>/dev/null || id -u)"
say "from=\${SSH_CONNECTION%% *}"
by=
if [ "$(id -u)" = 0 ]; then say root=yes
elif sudo -n true >/dev/null 2>&1; then by='sudo -n'; say root=sudo
else say root=no
fi
for one in $($by ls "$base/bin" 2>/dev/null); do
  if $by test -x "$base/bin/$one/ddt"; then say "program=$one"; fi
done
for one in ddt ddt-${role}; do
  at=$(command -v "$one" 2>/dev/null) || continue
  case $at in /*) say "path=$at $("$at" --version </dev/null 2>/dev/null | head -n 1)" ;; esac
done
`;
}

/** Unpacks the program from standard input. Says `put=done`, or `refused` and why. */
export function putScript(base: string, digest: string, isKept: boolean): string {
  return `
umask 077
base=${shellWord(base)}
folder=$base/bin/${digest}
# Another run may be bringing the same one.
arriving=$folder/arriving.$$
refuse() {
  rm -f "$arriving"
  rmdir "$folder" "$base/bin" "$base" 2>/dev/null
  say "refused=$(printf %s "$*" | tr '\\n' ' ')"
  exit 0
}
reason=$(mkdir -p "$folder" 2>&1) || refuse "$reason"
reason=$(gzip -dc 2>&1 >"$arriving") || { cat >/dev/null; refuse "$reason"; }
set -- $(sha256sum "$arriving")
[ "$1" = ${digest} ] || refuse "the program was damaged on its way"
chmod 700 "$arriving" && mv "$arriving" "$folder/ddt" || refuse "it cannot be put in place"
reason=$("$folder/ddt" --version 2>&1) || {
  rm -f "$folder/ddt"
  refuse "it does not run there: $(printf %s "$reason" | tail -n 1)"
}
${isKept ? 'touch "$folder/keep"' : ''}
sync "$folder/ddt" 2>/dev/null
say put=done
`;
}

/**
 * Starts a receiver that outlives the login, or finds the one that has the journal already. Says `result`
 * (listening, running, failed), `ticket`, `log` for each line that it has printed.
 * @param command words of sh. @param options words.
 */
export function startScript(places: FarPlaces, command: string, options: readonly string[]): string {
  return `
umask 077
state=${shellWord(folderOf(places))}
if [ ! -e "$state" ]; then say state=new; fi
reason=$(mkdir -p "$state" 2>&1) || { say result=failed; say "log=$reason"; exit 0; }
log=$state/log.$$
setsid ${command} --log json --state-dir "$state" --ticket-file "$state/ticket" ${words(options)} \\
  </dev/null >"$log" 2>&1 &
pid=$!
echo $pid >"$state/pid.new"
waits=0
result=failed
until grep -q '"listen":' "$log"; do
  if ! kill -0 $pid 2>/dev/null; then break; fi
  waits=$((waits + 1))
  if [ $waits -gt ${START_SECONDS * 20} ]; then kill $pid; break; fi
  sleep 0.05
done
if grep -q '"listen":' "$log"; then
  result=listening
  mv "$state/pid.new" "$state/pid"
  mv "$log" "$state/log"
  log=$state/log
elif grep -q '"code":"journal-in-use"' "$log" && [ -s "$state/ticket" ]; then
  result=running
fi
say "result=$result"
if [ $result != failed ]; then say "ticket=$(cat "$state/ticket")"; fi
tail -n 20 "$log" | while IFS= read -r line; do say "log=$line"; done
[ $result = listening ] || rm -f "$log"
`;
}

/** Ends the receiver, also one whose start was cut off. */
export function stopScript(places: FarPlaces): string {
  return `
state=${shellWord(folderOf(places))}
is_running() { [ "$(cat "/proc/$1/comm" 2>/dev/null)" = ddt-receive ]; }
for pid in $(cat "$state/pid" "$state/pid.new" 2>/dev/null); do
  is_running "$pid" || continue
  kill "$pid"
  waits=0
  while is_running "$pid" && [ $waits -lt ${STOP_SECONDS * 10} ]; do
    waits=$((waits + 1))
    sleep 0.1
  done
  if is_running "$pid"; then kill -9 "$pid"; sleep 0.5; fi
  if is_running "$pid"; then say "left=process $pid"; fi
done
`;
}

/** Says `busy=yes` if somebody is connected to the port (proc_net_tcp(5)). */
export function busyScript(port: number): string {
  const own = port.toString(16).toUpperCase().padStart(4, '0');
  return `
established='^ *[0-9]+: [0-9A-F]+:${own} [0-9A-F]+:[0-9A-F]+ 01 '
if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE "$established"; then say busy=yes; fi
`;
}

/**
 * After {@link stopScript}: removes the transfer's folder, and the program if no other transfer is there.
 * Says `left` for each that is there still.
 */
export function removeScript(places: FarPlaces, digest: string | undefined): string {
  return `
base=${shellWord(places.base)}
rm -rf "$state"
if [ -e "$state" ]; then say "left=$state"; fi
rmdir "$base/ssh" 2>/dev/null
${removeProgramScript(places.base, digest)}`;
}

/** Removes the program if no transfer is there. Says `left` if it is there still. */
export function removeProgramScript(base: string, digest: string | undefined): string {
  const program = digest === undefined ? '' : `${base}/bin/${digest}`;
  return `
base=${shellWord(base)}
program=${shellWord(program)}
if [ -n "$program" ] && [ ! -e "$base/ssh" ] && [ ! -e "$program/keep" ]; then rm -rf "$program"; fi
rmdir "$base/bin" "$base" 2>/dev/null
if [ -n "$program" ] && [ -e "$program" ]; then say "left=$program"; fi
`;
}

export function folderOf({ base, transfer }: FarPlaces): string {
  return `${base}/ssh/${transfer}`;
}

/** Runs a program whose output begins after a line with the mark. @param command words of sh. */
export function markedScript(command: string, mark: string): string {
  return `echo\necho ${mark}\nexec ${command}\n`;
}

function words(all: readonly string[]): string {
  return all.map((word) => shellWord(word)).join(' ');
}
