/**
 * An ext4 disk that has been in use, its free space full of old data: all of it, and only what is used, by
 * ddt and by partclone. Bytes read and sent are counted; without a line the time depends on the machine.
 * Prints Markdown.
 */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { mounted } from '../../test/support/loop-device.ts';
import { prng } from '../../test/support/prng.ts';
import { runScript, runTool, TEMPORARY } from '../run-script.ts';
import { LOOPBACK, choosePeers, type Peer } from './copy.ts';
import { buildWan, lineName, openLine, parseLine, type LineOptions } from './long-line.ts';
import { makeDevice } from './loop-device.ts';
import { ddt, partclone } from './peers.ts';
import { describeMachine, formatName } from './report.ts';

const USAGE = `usage: npm run bench:used -- [options]

  --size <size>     of the disk; default 4GiB
  --used <percent>  of it, in files of up to 8 MiB; default 30
  --line <line>     rate in Mbit/s, round trip in ms and loss in %: 100/20/0; default none
  --tools <substring,…>  default all
  --folder <folder> default ${TEMPORARY}; needs three times the size

Needs root, partclone and e2fsprogs; a line also gcc and iproute2, and partclone over one
netcat-openbsd. Both ends are on this machine. Blocks are compressed, as over a slow line;
partclone's stream is neither compressed nor encrypted.
`;
const MIB = 2 ** 20;
const FILE_BYTES_MAX = 8 * MIB;
const SECTOR_BYTES = 512;
/** As over a slow line: zeros beside data in a block do not travel. */
const COMPRESS = ['--compress', 'zstd'];
const PEERS: readonly Peer[] = [
  ddt('ddt', { send: COMPRESS }),
  ddt('ddt --used-only', { send: [...COMPRESS, '--used-only'] }),
  partclone('partclone -c | nc | partclone -r, not encrypted'),
];
/** Longer than any of them. */
const LIMIT_SECONDS = 86_400;

/** Files are written until twice as much is used, and every second one is deleted. */
async function ageDisk(device: string, usedBytes: number, signal: AbortSignal): Promise<void> {
  const bytes = [`if=/dev/urandom`, `of=${device}`, 'bs=4M', 'oflag=direct', 'status=none'];
  // It ends when the device is full.
  await runTool('sh', ['-c', `dd ${bytes.join(' ')} 2>/dev/null || true`], signal);
  await runTool(
    'mkfs.ext4',
    ['-q', '-E', 'nodiscard,lazy_itable_init=0,lazy_journal_init=0', device],
    signal,
  );
  const random = prng(1);
  await using place = await mounted(device);
  const names: string[] = [];
  for (let written = 0; written < 2 * usedBytes;) {
    const length = 1 + random.below(FILE_BYTES_MAX);
    const name = join(place.path, `file-${names.length}`);
    names.push(name);
    await writeFile(name, random.bytes(length));
    written += length;
  }
  const deleted = names.filter((_, at) => at % 2 === 0);
  for (const name of deleted) await runTool('rm', [name], signal);
}

async function bytesReadOf(device: string): Promise<number> {
  const fields = (await readFile(`/sys/block/${basename(device)}/stat`, 'utf8')).trim().split(/\s+/);
  return Number(fields[2]) * SECTOR_BYTES;
}

interface Bench {
  readonly folder: string;
  readonly source: string;
  readonly sizeBytes: number;
  /** undefined: there is no line. */
  readonly line: LineOptions | undefined;
  readonly signal: AbortSignal;
}

/** @returns a row of the table. */
async function benchPeer(
  { folder, source, sizeBytes, line, signal }: Bench,
  peer: Peer,
  at: number,
): Promise<string> {
  process.stderr.write(`${peer.name} `);
  await using stack = new AsyncDisposableStack();
  const target = await makeDevice(join(folder, `target-${at}`), sizeBytes, signal, stack);
  const route =
    line === undefined ? LOOPBACK : await openLine(await buildWan(folder, signal), line, signal, stack);
  const arrivedBefore = (await route.arrivedBytes?.()) ?? NaN;
  const readBefore = await bytesReadOf(source);
  const copy = await peer.copy({
    route,
    folder,
    source,
    target,
    sizeBytes,
    limitSeconds: LIMIT_SECONDS,
    signal,
  });
  const read = (await bytesReadOf(source)) - readBefore;
  const arrived = ((await route.arrivedBytes?.()) ?? NaN) - arrivedBefore;
  const wire = Number.isNaN(arrived) ? copy.wireBytes : arrived;
  process.stderr.write(`${copy.seconds.toFixed(1)} s\n`);
  await runTool('fsck.ext4', ['-f', '-n', target], signal);
  const cells = [
    formatName(peer.name),
    formatSize(read),
    wire === undefined ? '' : formatSize(wire),
    copy.seconds.toFixed(1),
    peer.proof,
  ];
  return `| ${cells.join(' | ')} |`;
}

async function benchUsedOnly(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { ...text, default: '4GiB' },
      used: { ...text, default: '30' },
      line: text,
      tools: text,
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const sizeBytes = parseSize(values.size);
  const usedBytes = (sizeBytes * parseWhole(values.used, '--used', 1, 45)) / 100;
  const line = values.line === undefined ? undefined : parseLine(values.line, '--line');
  const { chosen, left } = choosePeers(PEERS, values.tools);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const source = await makeDevice(join(folder, 'source'), sizeBytes, signal, stack);
  await ageDisk(source, usedBytes, signal);
  const rows = ['| | read of the source | on the line | seconds | proof |', '|---|---:|---:|---:|---|'];
  for (const [at, peer] of chosen.entries()) {
    rows.push(await benchPeer({ folder, source, sizeBytes, line, signal }, peer, at));
  }
  const disk = `an ext4 disk of ${formatSize(sizeBytes)}, ${values.used} % used, the rest old data`;
  const over = line === undefined ? '' : `, over ${lineName(line)}`;
  const lines = [await describeMachine(folder, signal), '', `${disk}${over}`, '', ...rows];
  process.stdout.write([...lines, ...left.map((reason) => `\nLeft out: ${reason}`), ''].join('\n'));
}

await runScript('bench', async (signal) => benchUsedOnly(process.argv.slice(2), signal));
