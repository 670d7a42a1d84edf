/**
 * An ext4 disk that has been in use, its free space full of old data: all of it, and only what is used. Bytes
 * read and sent are counted; the time depends on the machine. Prints Markdown.
 */
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { mounted } from '../../test/support/loop-device.ts';
import { prng } from '../../test/support/prng.ts';
import { eventsOf, runSender, startReceiver } from '../../test/support/processes.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { makeDevice } from './loop-device.ts';
import { describeMachine } from './report.ts';

const USAGE = `usage: npm run bench:used -- [options]

  --size <size>     of the disk; default 4GiB
  --used <percent>  of it, in files of up to 8 MiB; default 30
  --folder <folder> default ${TEMPORARY}; needs three times the size

Needs root, partclone and e2fsprogs. Both ends are on this machine. Blocks are compressed,
as over a slow line.
`;
const MIB = 2 ** 20;
const FILE_BYTES_MAX = 8 * MIB;
const SECTOR_BYTES = 512;
const WAYS = [[], ['--used-only']] as const;

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

async function benchUsedOnly(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { ...text, default: '4GiB' },
      used: { ...text, default: '30' },
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
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const source = await makeDevice(join(folder, 'source'), sizeBytes, signal, stack);
  await ageDisk(source, usedBytes, signal);
  const rows = ['| | read of the source | on the line | seconds |', '|---|---:|---:|---:|'];
  for (const [at, way] of WAYS.entries()) {
    const target = await makeDevice(join(folder, `target-${at}`), sizeBytes, signal, stack);
    const name = ['ddt', ...way].join(' ');
    process.stderr.write(`${name}\n`);
    await using receiver = await startReceiver({ folder, target });
    const before = await bytesReadOf(source);
    // As over a slow line: zeros beside data in a block do not travel.
    const compress = ['--compress', 'zstd'];
    const options = ['--ticket-file', receiver.ticketFile, '--progress', 'json', ...compress, ...way];
    const { status, stdout, stderr } = await runSender([...options, source]);
    const done = eventsOf(stdout).at(-1);
    if (status !== 0 || done === undefined) throw new Failure(`${name} failed: ${stderr}`, 1);
    const read = (await bytesReadOf(source)) - before;
    const [wire, seconds] = [Number(done['bytesWire']), Number(done['seconds'])];
    rows.push(`| ${name} | ${formatSize(read)} | ${formatSize(wire)} | ${seconds.toFixed(1)} |`);
    await receiver.end('SIGTERM');
    await runTool('fsck.ext4', ['-f', '-n', target], signal);
  }
  const disk = `an ext4 disk of ${formatSize(sizeBytes)}, ${values.used} % used, the rest old data`;
  process.stdout.write(`${await describeMachine(folder, signal)}\n\n${disk}\n\n${rows.join('\n')}\n`);
}

await runScript('bench', async (signal) => benchUsedOnly(process.argv.slice(2), signal));
