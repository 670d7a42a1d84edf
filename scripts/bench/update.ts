/**
 * A copy that exists is updated, by ddt and its alternatives: before each round random areas of the source
 * change, then each tool updates its own target over a line of its own. Prints Markdown.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, mkdtempDisposable, open, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { LOOPBACK, choosePeers, compareDisks, type Copy, type CopyJob, type Peer } from './copy.ts';
import { makeDevice } from './loop-device.ts';
import { buildWan, lineName, openLine, parseLine } from './long-line.ts';
import { ddt, nbdcopy, readTarget, rsync } from './peers.ts';
import { describeMachine, formatTable } from './report.ts';

const USAGE = `usage: npm run bench:update -- [options]

  --size <size>           of the disk, random bytes; default 8GiB
  --changed <percent>     of its bytes, in areas of 1 MiB, before each round; default 1
  --line <rate/rtt/loss>  Mbit/s, round trip in ms, per cent; default 1000/20/0
  --rounds <n>            default 3
  --tools <substring,…>   default all
  --files                 instead of loop devices with direct I/O
  --folder <folder>       default ${TEMPORARY}; needs the size of the disk for the source and for each tool
  --source-folder <folder>  of the source; /dev/shm stands for a disk of its own

Needs root, gcc and iproute2; compares with those of the other tools that are installed.
`;
const MIB = 2 ** 20;
/** No tool is stopped: a target that exists does not show how far a copy is. */
const LIMIT_SECONDS = 3600;

const UPDATE = 'ddt --update';
/** All was copied, and not sealed, before the source changed. */
const RESUME = 'ddt, interrupted';
const READ = 'dd iflag=direct, only reads the target';

interface Contender {
  readonly peer: Peer;
  readonly target: string;
  readonly copies: Copy[];
}

function peersIn(folder: string): Peer[] {
  return [
    ddt(UPDATE, { receive: ['--update'], folder: join(folder, UPDATE) }),
    ddt('ddt --adopt', { receive: ['--adopt'] }),
    ddt(RESUME, { folder: join(folder, RESUME) }),
    readTarget(READ),
    rsync('rsync --inplace over ssh', '--no-whole-file --ignore-times --copy-devices --write-devices'),
    nbdcopy('nbdcopy, TLS, 4 connections', ['--request-size=4194304'], ['cache=none']),
  ];
}

async function makeSource({ source, sizeBytes, signal }: CopyJob): Promise<void> {
  const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
  await runTool('dd', ['if=/dev/urandom', `of=${source}`, 'bs=4M', ...count], signal);
}

async function changeSource({ source, sizeBytes }: CopyJob, percent: number): Promise<void> {
  const areas = Math.floor(sizeBytes / MIB);
  await using handle = await open(source, 'r+');
  for (let left = Math.ceil((areas * percent) / 100); left > 0; left--) {
    await handle.write(randomBytes(MIB), 0, MIB, randomInt(areas) * MIB);
  }
  await handle.sync();
}

/** As an earlier run left it: sealed where ddt is to update it, otherwise copied by dd(1). */
async function makeTarget(job: CopyJob, peer: Peer, folder: string): Promise<void> {
  if (peer.name === UPDATE) {
    await mkdir(join(folder, UPDATE), { mode: 0o700 });
    await ddt(UPDATE, { folder: join(folder, UPDATE) }).copy(job);
    return;
  }
  const places = [`if=${job.source}`, `of=${job.target}`];
  await runTool('dd', [...places, 'bs=4M', 'conv=fsync', 'status=none'], job.signal);
}

/** Before each round: its last run sealed the copy. */
async function copyUnsealed(job: CopyJob, folder: string): Promise<void> {
  await mkdir(join(folder, RESUME), { recursive: true, mode: 0o700 });
  const receive = ['--discard-transfer', '--overwrite-target', '--yes'];
  await ddt(RESUME, { folder: join(folder, RESUME), receive, send: ['--keep-open'] }).copy(job);
}

async function benchUpdate(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { ...text, default: '8GiB' },
      changed: { ...text, default: '1' },
      line: { ...text, default: '1000/20/0' },
      rounds: { ...text, default: '3' },
      tools: text,
      files: { type: 'boolean', default: false },
      folder: { ...text, default: TEMPORARY },
      'source-folder': text,
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const sizeBytes = parseSize(values.size);
  if (sizeBytes < MIB) throw new Failure('--size must be at least 1 MiB', 2);
  const percent = parseWhole(values.changed, '--changed', 0, 100);
  const line = parseLine(values.line, '--line');
  const rounds = parseWhole(values.rounds, '--rounds', 1, 99);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const wan = await buildWan(folder, signal);
  const { chosen, left } = choosePeers(peersIn(folder), values.tools);
  const sourceFolder =
    values['source-folder'] === undefined
      ? folder
      : stack.use(await mkdtempDisposable(join(resolve(values['source-folder']), 'ddt-bench-'))).path;
  const place = async (path: string): Promise<string> =>
    values.files ? path : await makeDevice(path, sizeBytes, signal, stack);
  const source = await place(join(sourceFolder, 'source'));
  const rows: Contender[] = [];
  for (const [index, peer] of chosen.entries()) {
    // What is only read is what another tool has updated.
    const target = peer.name === READ ? rows[0]?.target : undefined;
    rows.push({ peer, target: target ?? (await place(join(folder, `target-${index}`))), copies: [] });
  }
  const common = { folder, source, sizeBytes, limitSeconds: LIMIT_SECONDS, signal };
  await makeSource({ ...common, route: LOOPBACK, target: '' });
  for (const { peer, target } of rows) {
    if (peer.name === RESUME || peer.name === READ) continue;
    await makeTarget({ ...common, route: LOOPBACK, target }, peer, folder);
  }
  const resumed = rows.find(({ peer }) => peer.name === RESUME);
  for (let round = 1; round <= rounds; round++) {
    if (resumed !== undefined)
      await copyUnsealed({ ...common, route: LOOPBACK, target: resumed.target }, folder);
    await changeSource({ ...common, route: LOOPBACK, target: '' }, percent);
    for (const { peer, target, copies } of rows) {
      process.stderr.write(`round ${round} of ${rounds}: ${peer.name} `);
      await runTool('sync', [], signal);
      await writeFile('/proc/sys/vm/drop_caches', '3');
      await using own = new AsyncDisposableStack();
      const route = await openLine(wan, line, signal, own);
      const copy = await peer.copy({ ...common, route, target });
      await compareDisks(common.source, target, signal);
      process.stderr.write(`${copy.seconds.toFixed(1)} s\n`);
      copies.push(copy);
    }
  }
  const what = `${formatSize(sizeBytes)} of random bytes, ${percent} % changed`;
  const table = formatTable(rows, rows[0], sizeBytes);
  process.stdout.write(`${await describeMachine(folder, signal)}\n\n**${lineName(line)}**, ${what}\n\n`);
  process.stdout.write(`${[...table, '', ...left.map((reason) => `Left out: ${reason}`)].join('\n')}\n`);
}

await runScript('bench', async (signal) => benchUpdate(process.argv.slice(2), signal));
