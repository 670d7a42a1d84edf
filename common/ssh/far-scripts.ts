/**
 * What is run on the far machine, for any POSIX sh with the usual programs beside it. `say` prints a line
 * that comes back (ssh-client.ts). Nothing is written outside of the base folder. Pure.
 */
import { shellWord } from '../text.ts';
import type { Role } from './far-program.ts';

/** Where things are on the far machine. */
export interface FarPlaces {
  /** Of programs and state; survives a reboot. */
  readonly base: string;
  /** The paths of the targets, as the user has named them. */
  readonly targets: readonly string[];
}

/** How long a receiver may take from its start until it listens: the journal of a large disk is read. */
const START_SECONDS = 120;
/** How long the last connection of a run may take to end. */
const UNUSED_SECONDS = 3;
/** How long it has to end when it is asked to. */
const STOP_SECONDS = 15;

/**
 * Says `os`, `root` (yes, sudo, no), `from` (where the login comes from), `boot` (another one after each
 * start of the machine), `program` (a digest, of each one there), and `path` (of others).
 */
export function askScript(base: string, role: Role): string {
  return `
base=${shellWord(base)}
say "os=$(uname -sm)"
say "user=$(id -un 2>/dev/null || id -u)"
say "from=\${SSH_CONNECTION%% *}"
say "boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
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

/**
 * After {@link askScript}: says of a target `size` in bytes if it is a device, `mounted` for each place where
 * that is, and `nowhere` if there is nothing with its name and nothing can be.
 * @param number stands behind each of these names.
 */
export function askTargetScript(target: string, number: number): string {
  return `
target=${shellWord(target)}
if [ -b "$target" ]; then
  device=/sys/dev/block/$((0x$(stat -Lc %t -- "$target"))):$((0x$(stat -Lc %T -- "$target")))
  say "size${number}=$(($(cat "$device/size") * 512))"
  for one in $(cat "$device/dev" "$device"/*/dev 2>/dev/null); do
    say "mounted${number}=$(awk -v one="$one" '$3 == one { print $5; exit }' /proc/self/mountinfo)"
  done
elif ! $by test -e "$target"; then
  case $target in
    nbd://* | nbds://* | nbd+unix://* | nbds+unix://* | rbd:*) ;;
    /dev/*) say "nowhere${number}=there is no such device" ;;
    */*) folder=\${target%/*}
      $by test -d "\${folder:-/}" || say "nowhere${number}=there is no folder $folder" ;;
  esac
fi
`;
}

/** A program that arrives in parts. */
export interface Arriving {
  readonly base: string;
  readonly digest: string;
  /** Another run may be bringing the same one. */
  readonly id: string;
  readonly count: number;
}

function arrivalScript({ base, digest, id }: Arriving): string {
  return `
umask 077
base=${shellWord(base)}
folder=$base/bin/${digest}
arriving=$folder/arriving.${id}
drop() {
  rm -f "$@"
  rmdir "$folder" "$base/bin" "$base" 2>/dev/null
}
refuse() {
  say "refused=$(printf %s "$*" | tr '\\n' ' ')"
  exit 0
}
`;
}

/** Unpacks a part of the program from standard input. Says `put=part`, or `refused` and why. */
export function partScript(arriving: Arriving, part: number): string {
  return `
${arrivalScript(arriving)}
reason=$(mkdir -p "$folder" 2>&1) || refuse "$reason"
reason=$(gzip -dc 2>&1 >"$arriving.${part}") || {
  cat >/dev/null
  drop "$arriving.${part}"
  refuse "$reason"
}
say put=part
`;
}

/** Removes all parts. */
export function unjoinScript(arriving: Arriving): string {
  return `
${arrivalScript(arriving)}
drop "$arriving".*
`;
}

/** Makes the program of all parts. Says `put=done`, or `refused` and why. */
export function joinScript(arriving: Arriving, isKept: boolean): string {
  const { digest, count } = arriving;
  const others = Array.from({ length: count - 1 }, (_, at) => at + 1).join(' ');
  return `
${arrivalScript(arriving)}
for part in ${others}; do
  reason=$(cat "$arriving.$part" 2>&1 >>"$arriving.0") || { drop "$arriving".*; refuse "$reason"; }
  rm "$arriving.$part"
done
set -- $(sha256sum "$arriving.0")
[ "$1" = ${digest} ] || { drop "$arriving".*; refuse "the program was damaged on its way"; }
chmod 700 "$arriving.0" && mv "$arriving.0" "$folder/ddt" || {
  drop "$arriving".*
  refuse "it cannot be put in place"
}
reason=$("$folder/ddt" --version 2>&1) || {
  drop "$folder/ddt"
  refuse "it does not run there: $(printf %s "$reason" | tail -n 1)"
}
${isKept ? 'touch "$folder/keep"' : ''}
sync "$folder/ddt" 2>/dev/null
say put=done
`;
}

/**
 * Starts a receiver that outlives the login, or finds the one that runs for these targets, whatever their
 * names. Says `result` (listening, running, failed), `run`: the folder of its process, of each target
 * `ticket` and `start`, the line of its log, `log` for each line that it has printed, `kind` of one that
 * runs; `new` for each target that is not there yet, and `missing` what is not there any more.
 * @param command words of sh. @param options words. @param kind what a later run compares with its own.
 */
export function startScript(
  { base, targets }: FarPlaces,
  command: string,
  options: readonly string[],
  kind: string,
): string {
  const all = words([...options, '--', ...targets]);
  return `
umask 077
state=${shellWord(stateDirOf(base))}
${runScript(targets)}
say "run=$run"
reason=$(mkdir -p "$run" 2>&1) || { say result=failed; say "log=$reason"; exit 0; }
${IS_RUNNING}
is_listening() { is_running "$(cat "$run/pid" 2>/dev/null)"; }
is_starting() {
  for one in "$run"/pid.*; do
    if is_running "$(cat "$one" 2>/dev/null)"; then return 0; fi
  done
  return 1
}
result=failed
log=$run/log
if is_listening; then
  result=running
else
  log=$run/log.$$
  setsid ${command} --log json --state-dir "$state" --ticket-file "$run/ticket" ${all} \\
    </dev/null >"$log" 2>&1 &
  pid=$!
  echo $pid >"$run/pid.$$"
  waits=0
  until grep -q '"listen":' "$log"; do
    if ! kill -0 $pid 2>/dev/null; then break; fi
    waits=$((waits + 1))
    if [ $waits -gt ${START_SECONDS * 20} ]; then kill $pid; break; fi
    sleep 0.05
  done
  if grep -q '"listen":' "$log"; then
    result=listening
    printf '%s\\n' ${shellWord(kind)} >"$run/kind"
    grep '"listen":' "$log" >"$run/start"
    mv "$log" "$run/log"
    log=$run/log
    mv "$run/pid.$$" "$run/pid"
  else
    rm -f "$run/pid.$$"
    # Another login may have been faster.
    waits=0
    while is_starting && [ $waits -lt ${START_SECONDS * 10} ]; do
      waits=$((waits + 1))
      sleep 0.1
    done
    if is_listening; then result=running; fi
  fi
fi
say "result=$result"
if [ $result != failed ]; then
  while IFS= read -r line; do say "ticket=$line"; done <"$run/ticket"
  say "kind=$(cat "$run/kind")"
  while IFS= read -r line; do say "start=$line"; done <"$run/start"
else
  set -- ${command}
  command -v "$1" >/dev/null 2>&1 || say "missing=$1"
  [ -d "$run" ] || say "missing=$run"
fi
tail -n 20 "$log" | while IFS= read -r line; do say "log=$line"; done
[ "$log" = "$run/log" ] || rm -f "$log"
`;
}

/** Sets `run`, the folder of a process for these targets; of many it would have too long a name. */
function runScript(targets: readonly string[]): string {
  const key = targets.length === 1 ? '$key' : '-$(printf %s "$key" | sha256sum | cut -c 1-16)';
  return `
key=
for target in ${words(targets)}; do
  if [ -b "$target" ]; then key=$key-$(stat -Lc %t-%T -- "$target")
  else key=$key-$(readlink -f -- "$target" | sha256sum | cut -c 1-16)
  fi
  if [ ! -e "$target" ]; then say "new=$target"; fi
done
run=$state/run${key}
`;
}

/** Its errors go to a log in the folder: no other process that has its number by now does that. */
const IS_RUNNING = `
is_running() {
  case $(readlink "/proc/\${1:-none}/fd/2" 2>/dev/null) in */"\${run##*/}"/log*) ;; *) return 1 ;; esac
}
`;

/** Ends the receiver, also one whose start was cut off. @param run as {@link startScript} has said it. */
export function stopScript(run: string): string {
  return `
run=${shellWord(run)}
${IS_RUNNING}
for pid in $(cat "$run"/pid* 2>/dev/null); do
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

/** What a run may remove at its end. */
export interface Removable {
  /** The folders of the transfers' journals. */
  readonly journals: readonly string[];
  /** SHA-256 of the program; undefined: it was not brought. */
  readonly digest: string | undefined;
  /** There was nothing with these names: empty files with them are the receiver's. */
  readonly newTargets: readonly string[];
}

/**
 * After {@link stopScript}: removes the transfer's folders; the keys if no other transfer is there, and then
 * the program. Says `left` for each that is there still.
 */
export function removeScript(
  { base }: Pick<FarPlaces, 'base'>,
  { journals, digest, newTargets }: Removable,
): string {
  return `
state=${shellWord(stateDirOf(base))}
rm -rf "$run" ${words(journals)}
for target in ${words(newTargets)}; do
  if [ -f "$target" ] && [ ! -s "$target" ]; then rm -f -- "$target"; fi
done
# Of a start before the last reboot, when the disk had another number.
for run in "$state"/run-*; do
  if [ -e "$run/pid" ] && ! is_running "$(cat "$run/pid")"; then rm -rf "$run"; fi
done
in_use=
for one in "$state"/run-* "$state"/*/journal.db; do
  if [ -e "$one" ]; then in_use=yes; fi
done
if [ -z "$in_use" ]; then rm -rf "$state"; fi
for journal in ${words(journals)}; do
  if [ -e "$journal" ]; then say "left=$journal"; fi
done
${removeProgramScript(base, digest)}`;
}

/** Removes the program if no transfer is there, and nothing runs it. Says `left` if it is there still. */
export function removeProgramScript(base: string, digest: string | undefined): string {
  const program = digest === undefined ? '' : `${base}/bin/${digest}`;
  return `
base=${shellWord(base)}
program=${shellWord(program)}
# A connection of this run may still be ending; another run may use it for hours.
is_used() { ls -l /proc/[0-9]*/exe 2>/dev/null | grep -qF -- "-> $program/ddt"; }
waits=0
while [ -n "$program" ] && is_used && [ $waits -lt ${UNUSED_SECONDS * 10} ]; do
  waits=$((waits + 1))
  sleep 0.1
done
if [ -n "$program" ] && [ ! -e "$base/ssh" ] && [ ! -e "$program/keep" ]; then
  is_used || rm -rf "$program"
fi
rmdir "$base/bin" "$base" 2>/dev/null
if [ -n "$program" ] && [ -e "$program" ]; then say "left=$program"; fi
`;
}

/** The state folder of all receivers that ssh has started: one finds what another one has recorded. */
export function stateDirOf(base: string): string {
  return `${base}/ssh`;
}

/** Runs a program whose output begins after a line with the mark. @param command words of sh. */
export function markedScript(command: string, mark: string): string {
  return `echo\necho ${mark}\nexec ${command}\n`;
}

function words(all: readonly string[]): string {
  return all.map((word) => shellWord(word)).join(' ');
}

/** Of what a script has said: all values with this name. */
export function valuesOf(said: readonly string[], name: string): string[] {
  return said.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
}
