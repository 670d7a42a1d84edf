/**
 * ddt and its alternatives over a long line: each copy has a new line to itself, which loses packets by the
 * same random numbers. Prints a Markdown table for each line.
 */
import { mkdtempDisposable, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseWhole } from '../../common/units.ts';
import { SCRIPTS } from '../../test/support/processes.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { choosePeers, compareDisks, type Copy, type CopyJob, type Peer, type Sample } from './copy.ts';
import { benchChange, bytesForChange } from './line-change.ts';
import { buildWan, lineName, openLine, parseLine, type LineOptions } from './long-line.ts';
import { ddNc, ddSsh, ddt, nbdcopy, rsync } from './peers.ts';
import { describeMachine, formatName, median } from './report.ts';

const USAGE = `usage: npm run bench:line -- [options]

  --lines <rate/rtt/loss,…>   Mbit/s, round trip in ms, per cent; default: those of docs/performance.md
  --content <random,image>    random bytes, and a half-full file-system image; or a folder such as /usr:
                              an image with its files
  --tools <substring,…>       default all
  --seconds <n>               how long the line would take for the data; default 120, because starting and
                              ending take a few seconds each and real copies take hours
  --limit <n>                 seconds after which a peer is stopped and judged by what arrived; default 60
  --rounds <n>                default 1
  --connections <n,…>         also ddt with each of these numbers of connections
  --compress <none,auto,…>    also ddt with each of these; --tools none leaves out all others
  --congestion <name>         of TCP at both ends; default cubic
  --change <line,line>        only ddt: two minutes after the line has changed, beside fixed numbers
  --folder <folder>           default ${TEMPORARY}

Needs root, gcc and iproute2; compares with those of the other tools that are installed.
`;
const LINES_DEFAULT = '100/40/0,100/40/0.5,100/80/1,1000/20/0.01,10/200/0.2';
const PEERS: readonly Peer[] = [
  ddt('ddt'),
  rsync('rsync over ssh', '-W'),
  rsync('rsync -z over ssh', '-W -z'),
  ddSsh('dd | ssh dd'),
  ddNc('dd | bzip2 | nc', ['bzip2', 'bunzip2']),
  nbdcopy('nbdcopy, TLS, 4 connections'),
];
const MIB = 2 ** 20;
/** At least one block for each of the first connections. */
const SIZE_BYTES_MIN = 32 * MIB;
const SIZE_BYTES_MAX = 8192 * MIB;

/** ddt has to finish: only a hang takes longer. */
const OWN_LIMIT_SECONDS = 3600;

interface Bench {
  readonly peers: readonly Peer[];
  readonly wan: string;
  readonly folder: string;
  readonly limitSeconds: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
}

/** @throws Failure. */
function parseContent(text: string): string {
  if (text === 'random' || text === 'image' || text.startsWith('/')) return text;
  throw new Failure(`--content: '${text}' is not random, image or the absolute path of a folder`, 2);
}

/** What the line carries in that time, in whole MiB. */
function sizeFor({ rateMbit }: LineOptions, seconds: number): number {
  const bytes = Math.ceil((rateMbit * 1e6 * seconds) / 8 / MIB) * MIB;
  return Math.min(SIZE_BYTES_MAX, Math.max(SIZE_BYTES_MIN, bytes));
}

async function makeSource(
  path: string,
  content: string,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<void> {
  await rm(path, { force: true });
  if (content !== 'random') {
    const from = content === 'image' ? [] : [content];
    await runTool(join(SCRIPTS, 'make-image'), [path, `${sizeBytes / MIB}MiB`, ...from], signal);
  } else {
    const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
    await runTool('dd', ['if=/dev/urandom', `of=${path}`, 'bs=4M', ...count], signal);
  }
}

async function measure(
  bench: Bench,
  options: LineOptions,
  peer: Peer,
  { sizeBytes, dataBytes }: { sizeBytes: number; dataBytes: number },
): Promise<Copy> {
  const { folder, signal } = bench;
  const [source, target] = [join(folder, 'source'), join(folder, 'target')];
  await rm(target, { force: true });
  await runTool('sync', [], signal);
  await writeFile('/proc/sys/vm/drop_caches', '3');
  await using stack = new AsyncDisposableStack();
  const line = await openLine(bench.wan, options, signal, stack);
  const limitSeconds = peer.name.startsWith('ddt') ? OWN_LIMIT_SECONDS : bench.limitSeconds;
  const job: CopyJob = { ...bench, limitSeconds, route: line, source, target, sizeBytes, dataBytes };
  const copy = await peer.copy(job);
  if (copy.isComplete) await compareDisks(source, target, signal);
  return copy;
}

function rateOf({ bytes, seconds }: Copy): number {
  return (bytes * 8) / 1e6 / seconds;
}

/** A line counts as full where it carries so much of its rate for a second. */
const FULL_SHARE = 0.9;
const FULL_SECONDS = 1;

/**
 * Seconds until the line is full, and seconds after it was for the last time; NaN if it never is.
 * @param copy.arrived grows; a sample about every quarter of a second.
 */
function unfilledSeconds({ arrived, seconds }: Copy, { rateMbit }: LineOptions): readonly [number, number] {
  const fullBytes = (FULL_SHARE * FULL_SECONDS * rateMbit * 1e6) / 8;
  const isFullAfter = ({ seconds: from, bytes }: Sample, at: number): boolean => {
    const to = arrived.slice(at).find((sample) => sample.seconds >= from + FULL_SECONDS);
    return to !== undefined && (to.bytes - bytes) / (to.seconds - from) >= fullBytes / FULL_SECONDS;
  };
  const full = arrived.filter(isFullAfter);
  return [full[0]?.seconds ?? NaN, seconds - (full.at(-1)?.seconds ?? NaN) - FULL_SECONDS];
}

function percentOf(mbit: number, { rateMbit }: LineOptions): string {
  return `${((mbit / rateMbit) * 100).toFixed(0)} %`;
}

function formatRow(name: string, copies: readonly Copy[], ofDdt: number, options: LineOptions): string {
  const rate = median(copies.map(rateOf));
  const seconds = median(copies.map((copy) => copy.seconds));
  const isComplete = copies.every((copy) => copy.isComplete);
  const connections = copies[0]?.connections?.filter((count) => count > 0) ?? [];
  const cells = [
    formatName(name),
    rate.toFixed(1),
    percentOf(rate, options),
    percentOf(median(copies.map(({ lineMbit }) => lineMbit)), options),
    (ofDdt / rate).toFixed(ofDdt / rate < 10 ? 2 : 0),
    isComplete ? seconds.toFixed(1) : `stopped at ${seconds.toFixed(0)}`,
    ...[0, 1].map((edge) => {
      const unfilled = median(copies.map((copy) => unfilledSeconds(copy, options)[edge] ?? NaN));
      return isComplete && unfilled >= 0 ? unfilled.toFixed(1) : '';
    }),
    connections.length === 0 ? '' : String(median(connections.slice(Math.floor(connections.length / 2)))),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function benchLine(
  bench: Bench,
  options: LineOptions,
  { content, seconds }: { content: string; seconds: number },
): Promise<string[]> {
  const sizeBytes = sizeFor(options, seconds);
  await makeSource(join(bench.folder, 'source'), content, sizeBytes, bench.signal);
  const isRandom = content === 'random';
  const dataBytes = isRandom ? sizeBytes : (await stat(join(bench.folder, 'source'))).blocks * 512;
  const copies = new Map<Peer, Copy[]>();
  for (let round = 1; round <= bench.rounds; round++) {
    for (const peer of bench.peers) {
      process.stderr.write(`${lineName(options)}, ${content}, round ${round}: ${peer.name} `);
      const copy = await measure(bench, options, peer, { sizeBytes, dataBytes });
      process.stderr.write(`${rateOf(copy).toFixed(1)} Mbit/s\n`);
      copies.set(peer, [...(copies.get(peer) ?? []), copy]);
    }
  }
  const [first] = bench.peers;
  const ofDdt = median((first === undefined ? [] : (copies.get(first) ?? [])).map(rateOf));
  const what = isRandom ? 'of random bytes' : 'of a file-system image, half full';
  const from = isRandom || content === 'image' ? '' : ` of ${content}`;
  return [
    `**${lineName(options)}**, ${formatSize(sizeBytes)} ${what}${from}`,
    '',
    '| | Mbit/s of the disk | of the line | line in use | ddt is × as fast | seconds | ' +
      'until full, s | after full, s | connections |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...bench.peers.map((peer) => formatRow(peer.name, copies.get(peer) ?? [], ofDdt, options)),
    '',
  ];
}

/** The chosen tools, and a further ddt for each value of `connections` and of `compress`. */
function peersFor({
  tools,
  connections,
  compress,
}: Partial<Record<'tools' | 'connections' | 'compress', string>>): Peer[] {
  const compressed = (compress?.split(',') ?? []).map((how) =>
    ddt(`ddt --compress ${how}`, { send: ['--compress', how] }),
  );
  const fixed = (connections?.split(',') ?? []).map((count) => {
    parseWhole(count, '--connections', 1, 64);
    return ddt(`ddt --connections ${count}`, { send: ['--connections', count] });
  });
  const { chosen, left } = choosePeers(PEERS, tools);
  for (const reason of left) process.stderr.write(`left out: ${reason}\n`);
  return [...chosen, ...fixed, ...compressed];
}

async function printChange({ wan, folder, signal }: Bench, text: string): Promise<void> {
  const [from, to, ...others] = text.split(',').map((line) => parseLine(line, '--change'));
  if (from === undefined || to === undefined || others.length > 0) {
    throw new Failure(`--change: '${text}' is not two lines, such as 100/40/0,100/40/0.5`, 2);
  }
  const source = join(folder, 'source');
  await makeSource(source, 'random', Math.ceil(bytesForChange({ from, to }) / MIB) * MIB, signal);
  const table = await benchChange({ wan, folder, source, signal }, { from, to });
  process.stdout.write(`${table.join('\n')}\n`);
}

async function benchLines(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      lines: { ...text, default: LINES_DEFAULT },
      content: { ...text, default: 'random,image' },
      tools: text,
      seconds: { ...text, default: '120' },
      limit: { ...text, default: '60' },
      rounds: { ...text, default: '1' },
      connections: text,
      compress: text,
      congestion: text,
      change: text,
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const lines = values.lines
    .split(',')
    .map((line) => ({ ...parseLine(line), congestionControl: values.congestion }));
  const contents = values.content.split(',').map(parseContent);
  const seconds = parseWhole(values.seconds, '--seconds', 1, 3600);
  const limitSeconds = parseWhole(values.limit, '--limit', 5, 86_400);
  const rounds = parseWhole(values.rounds, '--rounds', 1, 99);
  const peers = peersFor(values);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const wan = await buildWan(folder, signal);
  const all: Bench = { peers, wan, folder, limitSeconds, rounds, signal };
  process.stdout.write(`${await describeMachine(folder, signal)}\n\n`);
  if (values.change !== undefined) return await printChange(all, values.change);
  for (const options of lines) {
    for (const content of contents) {
      const table = await benchLine(all, options, { content, seconds });
      process.stdout.write(`${table.join('\n')}\n`);
    }
  }
}

await runScript('bench', async (signal) => benchLines(process.argv.slice(2), signal));
