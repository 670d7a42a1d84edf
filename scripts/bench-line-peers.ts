/** What copies a disk over the long line: ddt, and what people use instead. Each flushes at its end. */
import { mkdtempDisposable, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure, OwnProcess, SCRIPTS, startReceiver, until } from './both-sides.ts';
import { findProgram, startLoopbackSsh } from './loopback-ssh.ts';
import type { LongLine } from './long-line.ts';

const NC_PORT = 9000;
const NBD_PORT = 10_809;
const LISTEN_TIMEOUT_MS = 10_000;
const LOOK_EVERY_MS = 100;
/** Each time a process looks. */
const LOOK_AT_LINE_EVERY_MS = 1000;
/** Only what hangs takes longer: ddt's own ends count. */
const OWN_LIMIT_SECONDS = 3600;

export interface LineJob {
  readonly line: LongLine;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  /** Of the source: what is no zeros. */
  readonly dataBytes: number;
  /** A peer that has not ended by then is stopped, and judged by what has arrived. */
  readonly limitSeconds: number;
  readonly signal: AbortSignal;
}

export interface Copy {
  readonly seconds: number;
  /** Of the disk, on the target. */
  readonly bytes: number;
  readonly isComplete: boolean;
  /** Mbit/s on the line without the first and the last fifth of the time; NaN of too short a time. */
  readonly lineMbit: number;
  /** Of ddt: the connections that it had, once a second. */
  readonly connections?: readonly number[];
}

export interface Peer {
  readonly name: string;
  readonly programs: readonly (readonly [program: string, debianPackage: string])[];
  readonly copy: (job: LineJob) => Promise<Copy>;
}

/** For a shell, here or behind ssh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function shell(script: string): string[] {
  return ['bash', '-c', `set -e -o pipefail; ${script}`];
}

interface Ending {
  /** The process whose end is the end of the copy. */
  readonly last: OwnProcess;
  readonly limitSeconds: number;
  /** Zeros are left out on the target. */
  readonly keepsHoles?: boolean;
}

async function timeCopy(job: LineJob, { last, limitSeconds, keepsHoles }: Ending): Promise<Copy> {
  const startMs = performance.now();
  const now = (): number => (performance.now() - startMs) / 1000;
  const looks: Look[] = [];
  while (last.isRunning && now() < limitSeconds) {
    job.signal.throwIfAborted();
    await Promise.race([last.ended, delay(LOOK_EVERY_MS)]);
    if (now() * 1000 < looks.length * LOOK_AT_LINE_EVERY_MS) continue;
    looks.push({ seconds: now(), bytes: await job.line.arrivedBytes() });
  }
  const seconds = now();
  const lineMbit = middleOf(looks);
  if (last.isRunning) {
    // Sparse until it is written: what is allocated has arrived.
    const allocated = (await stat(job.target)).blocks * 512;
    const share = allocated / (keepsHoles === true ? job.dataBytes : job.sizeBytes);
    return { seconds, bytes: job.sizeBytes * Math.min(1, share), isComplete: false, lineMbit };
  }
  const end = await last.ended;
  if (end.status !== 0) throw new Failure(`it ended with ${end.status}: ${end.errors.slice(-3).join(' · ')}`);
  return { seconds: end.seconds, bytes: job.sizeBytes, isComplete: true, lineMbit };
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

async function untilListening(job: LineJob, port: number, server: OwnProcess): Promise<void> {
  await until('the peer to listen', job.signal, LISTEN_TIMEOUT_MS, async () => {
    if (!server.isRunning) throw new Failure(`the peer has ended: ${server.errors.join(' · ')}`);
    const { lines } = await OwnProcess.within(job.line.far, ['ss', '-Hltn', `sport = :${port}`]).ended;
    return lines.length > 0;
  });
}

export function ddt(name: string, parameters: readonly string[]): Peer {
  return {
    name,
    programs: [],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const own = stack.use(await mkdtempDisposable(join(job.folder, 'ddt-'))).path;
      const { line, target, signal } = job;
      const place = { folder: own, target, signal, address: line.farAddress, within: line.far };
      const { ticketFile } = await startReceiver(place, stack);
      const options = ['--ticket-file', ticketFile, '--progress', 'json', ...parameters];
      const sender = stack.use(
        OwnProcess.within(line.near, [join(SCRIPTS, 'ddt-send'), ...options, job.source]),
      );
      const copy = await timeCopy(job, { last: sender, limitSeconds: OWN_LIMIT_SECONDS });
      const events = sender.lines.map((text) => JSON.parse(text) as { event: string; connections?: number });
      const connections = events.flatMap((event) =>
        event.event === 'progress' && event.connections !== undefined ? [event.connections] : [],
      );
      return { ...copy, connections };
    },
  };
}

/** @param script what runs at the near end; `$SSH` is the ssh with its options. */
function throughSsh(
  name: string,
  programs: Peer['programs'],
  script: (job: LineJob, ssh: string) => string,
): Peer {
  return {
    name,
    programs: [['sshd', 'openssh-server'], ['ssh', 'openssh-client'], ...programs],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      const own = stack.use(await mkdtempDisposable(join(job.folder, 'ssh-'))).path;
      const { line, signal } = job;
      const elsewhere = { address: line.farAddress, near: line.near, far: line.far };
      const configFile = await startLoopbackSsh(join(own, 'ssh'), signal, stack, elsewhere);
      const client = stack.use(OwnProcess.within(line.near, shell(script(job, `ssh -F ${configFile}`))));
      return await timeCopy(job, { ...job, last: client });
    },
  };
}

function ddToTarget({ target }: LineJob): string {
  return `dd of=${quoted(target)} bs=4M iflag=fullblock conv=fsync status=none`;
}

const BZIP2_NC: Peer = {
  name: 'dd | bzip2 | nc',
  programs: [
    ['nc', 'netcat-openbsd'],
    ['bzip2', 'bzip2'],
    ['ss', 'iproute2'],
  ],
  copy: async (job) => {
    await using stack = new AsyncDisposableStack();
    const { near, far, farAddress } = job.line;
    const receive = `nc -l ${farAddress} ${NC_PORT} | bunzip2 | ${ddToTarget(job)}`;
    const server = stack.use(OwnProcess.within(far, shell(receive)));
    await untilListening(job, NC_PORT, server);
    const send = `dd if=${quoted(job.source)} bs=4M status=none | bzip2 | nc -N ${farAddress} ${NC_PORT}`;
    stack.use(OwnProcess.within(near, shell(send)));
    // The sender knows nothing of the end: it is there when the receiver has flushed.
    return await timeCopy(job, { ...job, last: server });
  },
};

const NBDCOPY: Peer = {
  name: 'nbdcopy, TLS, 4 connections',
  programs: [
    ['nbdkit', 'nbdkit'],
    ['nbdcopy', 'libnbd-bin'],
    ['psktool', 'gnutls-bin'],
    ['ss', 'iproute2'],
  ],
  copy: async (job) => {
    await using stack = new AsyncDisposableStack();
    const own = stack.use(await mkdtempDisposable(join(job.folder, 'nbd-'))).path;
    const { near, far, farAddress } = job.line;
    const keys = join(own, 'keys.psk');
    await OwnProcess.within([], ['psktool', '-u', 'bench', '-p', keys]).ended;
    await writeFile(job.target, '');
    await truncate(job.target, job.sizeBytes);
    const tls = ['--tls=require', `--tls-psk=${keys}`];
    const place = ['-f', '-i', farAddress, '-p', String(NBD_PORT)];
    const server = stack.use(OwnProcess.within(far, ['nbdkit', ...place, ...tls, 'file', job.target]));
    await untilListening(job, NBD_PORT, server);
    const uri = `nbds://bench@${farAddress}:${NBD_PORT}/?tls-psk-file=${keys}`;
    const options = ['--flush', '--connections=4', '--requests=16'];
    const last = stack.use(OwnProcess.within(near, ['nbdcopy', ...options, job.source, uri]));
    return await timeCopy(job, { ...job, last, keepsHoles: true });
  },
};

export const PEERS: readonly Peer[] = [
  ddt('ddt', []),
  throughSsh('rsync over ssh', [['rsync', 'rsync']], (job, ssh) => rsync(job, ssh, '')),
  throughSsh('rsync -z over ssh', [['rsync', 'rsync']], (job, ssh) => rsync(job, ssh, '-z')),
  throughSsh(
    'dd | ssh dd',
    [],
    (job, ssh) =>
      `dd if=${quoted(job.source)} bs=4M status=none | ${ssh} loopback ${quoted(ddToTarget(job))}`,
  ),
  BZIP2_NC,
  NBDCOPY,
];

function rsync({ source, target }: LineJob, ssh: string, option: string): string {
  const places = `${quoted(source)} ${quoted(`loopback:${target}`)}`;
  return `rsync -W --inplace --fsync -s ${option} -e ${quoted(ssh)} ${places}`;
}

/** What is missing for this peer, as a person types it; undefined when nothing is. */
export function missingFor({ programs }: Peer): string | undefined {
  const missing = programs.flatMap(([program, name]) => (findProgram(program) === undefined ? [name] : []));
  return missing.length === 0 ? undefined : `apt-get install ${[...new Set(missing)].join(' ')}`;
}
