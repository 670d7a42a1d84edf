/** One copy of a disk by one tool, timed from start to end. */
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../../test/support/processes.ts';
import { findProgram, missingTools, packagesFor, type Tool } from '../../test/support/requires.ts';
import { lastWords, run, start, type Started } from '../../test/support/run.ts';
import { endedWith, Failure, runTool } from '../run-script.ts';

const LISTEN_TIMEOUT_MS = 10_000;
const SAMPLE_EVERY_MS = 100;
/** Each sample of the line starts a process. */
const SAMPLE_LINE_EVERY_MS = 250;
/** Of /proc/stat, on every machine (proc(5), sysconf(3)). */
const TICKS_PER_SECOND = 100;

/** Where the two ends of a copy are. */
export interface Route {
  /** What a command line at this end starts with: nothing, or `ip netns exec …`. */
  readonly near: readonly string[];
  readonly far: readonly string[];
  readonly farAddress: string;
  /** CPU seconds of the processes at each end so far. */
  ends?(): Promise<readonly [near: number, far: number]>;
  /** Bytes that have come out of the line at the far end so far, packet headers included. */
  arrivedBytes?(): Promise<number>;
}

export const LOOPBACK: Route = { near: [], far: [], farAddress: '127.0.0.1' };

export interface CopyJob {
  readonly route: Route;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  /** Of the source, without zeros; default all of it. */
  readonly dataBytes?: number;
  /** A copy that takes longer is stopped, and judged by what has arrived. */
  readonly limitSeconds: number;
  readonly signal: AbortSignal;
}

export interface Copy {
  readonly seconds: number;
  /** Of the disk, on the target; of a copy that was stopped, what is allocated there. */
  readonly bytes: number;
  readonly isComplete: boolean;
  /** Mbit/s on the line, without the first and the last fifth of the time; NaN if that is too short. */
  readonly lineMbit: number;
  /** Out of the line at the far end, packet headers included; NaN where that is not measured. */
  readonly arrived: readonly Sample[];
  /** Of the whole machine: both sides, and the kernel's work for them. */
  readonly cpuSeconds: number;
  /** Of the processes at each end, where that is measured. */
  readonly endSeconds?: readonly [near: number, far: number];
  /** Of ddt: its number of connections, once a second. */
  readonly connections?: readonly number[];
  /** Of ddt: bytes that it has given to its connections. */
  readonly wireBytes?: number;
  /** Of ddt: peak memory. */
  readonly senderBytes?: number;
  readonly receiverBytes?: number;
}

export interface Peer {
  readonly name: string;
  /** What is known about the target when it has ended. */
  readonly proof: string;
  readonly programs: readonly Tool[];
  readonly copy: (job: CopyJob) => Promise<Copy>;
}

export function shell(script: string): string[] {
  return ['bash', '-c', `set -e -o pipefail; ${script}`];
}

/** CPU seconds of all processors since boot, without idle and I/O wait. */
async function busySeconds(): Promise<number> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

export interface Ending {
  /** Exit statuses that are not a failure. */
  readonly statuses?: readonly number[];
  /** The tool does not write zeros to the target. */
  readonly keepsHoles?: boolean;
}

/** Starts a command at one end, with nothing on its standard input. */
export async function startAt(end: readonly string[], command: readonly string[]): Promise<Started> {
  const [program = '', ...args] = command;
  const started = await start(program, args, { under: end });
  started.stdin.end();
  return started;
}

/**
 * @param begin starts the copy. @returns the process that ends when the copy does.
 * @throws Failure with its last words if it fails.
 */
export async function timeCopy(
  job: CopyJob,
  begin: () => Promise<Started>,
  { statuses = [0], keepsHoles = false }: Ending = {},
): Promise<Copy> {
  const busyBefore = await busySeconds();
  const [nearBefore, farBefore] = (await job.route.ends?.()) ?? [NaN, NaN];
  const startMs = performance.now();
  const now = (): number => (performance.now() - startMs) / 1000;
  const samples: Sample[] = [];
  const last = await begin();
  while (last.isRunning && now() < job.limitSeconds) {
    job.signal.throwIfAborted();
    await Promise.race([last.ended, delay(SAMPLE_EVERY_MS)]);
    if (now() * 1000 < samples.length * SAMPLE_LINE_EVERY_MS) continue;
    samples.push({ seconds: now(), bytes: (await job.route.arrivedBytes?.()) ?? NaN });
  }
  const seconds = now();
  const cpuSeconds = (await busySeconds()) - busyBefore;
  const [near, far] = (await job.route.ends?.()) ?? [NaN, NaN];
  const endSeconds = [near - nearBefore, far - farBefore] as const;
  const figures = { seconds, cpuSeconds, endSeconds, lineMbit: middleOf(samples), arrived: samples };
  const { sizeBytes, dataBytes = sizeBytes } = job;
  if (last.isRunning) {
    // The target is sparse until it is written: what is allocated has arrived.
    const share = ((await stat(job.target)).blocks * 512) / (keepsHoles ? dataBytes : sizeBytes);
    return { bytes: sizeBytes * Math.min(1, share), isComplete: false, ...figures };
  }
  const end = await last.ended;
  if (!statuses.includes(end.status ?? -1)) throw endedWith('the copy', end);
  return { bytes: sizeBytes, isComplete: true, ...figures };
}

/** Bytes by a time after the start. */
export interface Sample {
  readonly seconds: number;
  readonly bytes: number;
}

function middleOf(samples: readonly Sample[]): number {
  const from = samples[Math.floor(samples.length * 0.2)];
  const to = samples[Math.floor(samples.length * 0.8)];
  if (from === undefined || to === undefined || to.seconds <= from.seconds) return NaN;
  return ((to.bytes - from.bytes) * 8) / 1e6 / (to.seconds - from.seconds);
}

export async function untilListening(
  { route, signal }: CopyJob,
  port: number,
  server: Started,
): Promise<void> {
  const isListening = async (): Promise<boolean> => {
    signal.throwIfAborted();
    if (!server.isRunning) throw new Failure(`the peer has ended: ${lastWords(server)}`);
    const { stdout } = await run('ss', ['-Hltn', `sport = :${port}`], { under: route.far });
    return stdout !== '';
  };
  await until('the peer to listen', isListening, LISTEN_TIMEOUT_MS);
}

/**
 * Compares with programs that are not ours: cmp(1), or qemu-img for a disk that is mostly holes, of which cmp
 * would read every byte. @throws Failure where they differ.
 */
export async function compareDisks(source: string, target: string, signal: AbortSignal): Promise<void> {
  const [ours, theirs] = [await stat(source), await stat(target)];
  if (ours.size !== theirs.size) throw new Failure(`${target} has ${theirs.size} bytes, not ${ours.size}`);
  const isSparse = ours.blocks * 512 < ours.size / 4 && findProgram('qemu-img') !== undefined;
  if (isSparse) await runTool('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', source, target], signal);
  else await runTool('cmp', [source, target], signal);
}

/** The command that installs what this peer lacks; undefined when nothing is missing. */
function missingFor({ programs }: Peer): string | undefined {
  const packages = packagesFor(missingTools(...programs));
  return packages.length === 0 ? undefined : `apt-get install ${packages.join(' ')}`;
}

/** The peers whose name contains one of the parts (default all), and why some of these are left out. */
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
