/** One copy of a disk by one tool, timed from its start to its end. */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure, OwnProcess, run, until } from './both-sides.ts';
import { findProgram } from './loopback-ssh.ts';

const LISTEN_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 100;
/** Each time a process looks. */
const LOOK_AT_LINE_EVERY_MS = 1000;
/** Of /proc/stat, on every machine (proc(5), sysconf(3)). */
const TICKS_PER_SECOND = 100;

/** Where the two ends of a copy are. */
export interface Route {
  /** What a command line begins with that runs at this end: nothing, or `ip netns exec …`. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly farAddress: string;
  /** Bytes that have come out of the line at the far end so far, heads of packets included. */
  arrivedBytes?(): Promise<number>;
}

export const LOOPBACK: Route = { near: [], far: [], farAddress: '127.0.0.1' };

export interface CopyJob {
  readonly route: Route;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  /** Of the source: what is no zeros; all of it, if this is not given. */
  readonly dataBytes?: number;
  /** What has not ended by then is stopped, and judged by what has arrived. */
  readonly limitSeconds: number;
  readonly signal: AbortSignal;
}

export interface Copy {
  readonly seconds: number;
  /** Of the disk, on the target; of a copy that was stopped, what is allocated there. */
  readonly bytes: number;
  readonly isComplete: boolean;
  /** Mbit/s on the line without the first and the last fifth of the time; NaN of too short a time. */
  readonly lineMbit: number;
  /** Of the whole machine meanwhile: both sides, and the kernel's work for them. */
  readonly cpuSeconds: number;
  /** Of ddt: the connections that it had, once a second. */
  readonly connections?: readonly number[];
  /** Of ddt: peak memory. */
  readonly senderBytes?: number;
  readonly receiverBytes?: number;
}

export interface Peer {
  readonly name: string;
  /** What is known of the target at its end. */
  readonly proof: string;
  readonly programs: readonly (readonly [program: string, debianPackage: string])[];
  readonly copy: (job: CopyJob) => Promise<Copy>;
}

/** For a shell, here or behind ssh. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

export function shell(script: string): string[] {
  return ['bash', '-c', `set -e -o pipefail; ${script}`];
}

/** What all processors have worked since the start of the machine: all but idle and waiting. */
async function busySeconds(): Promise<number> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

export interface Ending {
  /** Exit statuses that are no failure. */
  readonly statuses?: readonly number[];
  /** Zeros are left out on the target. */
  readonly keepsHoles?: boolean;
}

/**
 * @param start begins the copy. @returns the process whose end is the end of the copy.
 * @throws Failure with its last words unless it ends as it may.
 */
export async function timeCopy(
  job: CopyJob,
  start: () => OwnProcess,
  { statuses = [0], keepsHoles = false }: Ending = {},
): Promise<Copy> {
  const busyBefore = await busySeconds();
  const startMs = performance.now();
  const now = (): number => (performance.now() - startMs) / 1000;
  const looks: Look[] = [];
  const last = start();
  while (last.isRunning && now() < job.limitSeconds) {
    job.signal.throwIfAborted();
    await Promise.race([last.ended, delay(LOOK_EVERY_MS)]);
    if (now() * 1000 < looks.length * LOOK_AT_LINE_EVERY_MS) continue;
    looks.push({ seconds: now(), bytes: (await job.route.arrivedBytes?.()) ?? NaN });
  }
  const seconds = now();
  const cpuSeconds = (await busySeconds()) - busyBefore;
  const figures = { seconds, cpuSeconds, lineMbit: middleOf(looks) };
  const { sizeBytes, dataBytes = sizeBytes } = job;
  if (last.isRunning) {
    // Sparse until it is written: what is allocated has arrived.
    const share = ((await stat(job.target)).blocks * 512) / (keepsHoles ? dataBytes : sizeBytes);
    return { bytes: sizeBytes * Math.min(1, share), isComplete: false, ...figures };
  }
  const end = await last.ended;
  if (!statuses.includes(end.status ?? -1)) {
    throw new Failure(`it ended with ${end.signal ?? end.status}: ${end.errors.slice(-3).join(' · ')}`);
  }
  return { bytes: sizeBytes, isComplete: true, ...figures };
}

interface Look {
  readonly seconds: number;
  readonly bytes: number;
}

function middleOf(looks: readonly Look[]): number {
  const from = looks[Math.floor(looks.length * 0.2)];
  const to = looks[Math.floor(looks.length * 0.8)];
  if (from === undefined || to === undefined || to.seconds <= from.seconds) return NaN;
  return ((to.bytes - from.bytes) * 8) / 1e6 / (to.seconds - from.seconds);
}

export async function untilListening(
  { route, signal }: CopyJob,
  port: number,
  server: OwnProcess,
): Promise<void> {
  await until('the peer to listen', signal, LISTEN_TIMEOUT_MS, async () => {
    if (!server.isRunning) throw new Failure(`the peer has ended: ${server.errors.join(' · ')}`);
    const { lines } = await OwnProcess.within(route.far, ['ss', '-Hltn', `sport = :${port}`]).ended;
    return lines.length > 0;
  });
}

/**
 * By programs that are not ours: cmp(1), which would read every hole; a disk that is mostly holes is compared
 * by qemu-img, where it is installed. @throws Failure where they differ.
 */
export async function compareDisks(source: string, target: string, signal: AbortSignal): Promise<void> {
  const [ours, theirs] = [await stat(source), await stat(target)];
  if (ours.size !== theirs.size) throw new Failure(`${target} has ${theirs.size} bytes, not ${ours.size}`);
  const isSparse = ours.blocks * 512 < ours.size / 4 && findProgram('qemu-img') !== undefined;
  if (isSparse) await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, target], signal);
  else await run('cmp', [source, target], signal);
}

/** What is missing for this peer, as a person types it; undefined when nothing is. */
function missingFor({ programs }: Peer): string | undefined {
  const missing = programs.flatMap(([program, name]) => (findProgram(program) === undefined ? [name] : []));
  return missing.length === 0 ? undefined : `apt-get install ${[...new Set(missing)].join(' ')}`;
}

/** Those whose name has one of the parts, all without; and why some of these can't run here. */
export function choosePeers(
  peers: readonly Peer[],
  parts: string | undefined,
): { chosen: Peer[]; left: string[] } {
  const wanted = parts?.split(',');
  const named = peers.filter(({ name }) => wanted?.some((part) => name.includes(part)) ?? true);
  const left = named.flatMap((peer) => {
    const missing = missingFor(peer);
    return missing === undefined ? [] : [`${peer.name}: ${missing}`];
  });
  return { chosen: named.filter((peer) => missingFor(peer) === undefined), left };
}
