/**
 * A disk image to try dd-transfer with: a GPT, and in partition 1 an ext4 file system that is about half full
 * of files; the same bytes for the same size. Needs neither root nor a mount.
 */
import { execFile } from 'node:child_process';
import { mkdtempDisposable, open, realpath, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { errnoOf, exitStatusOf, reasonOf, TransferError } from '../../common/errors.ts';
import { formatSize, parseSize } from '../../common/units.ts';
import { partitionTable, SECTOR_BYTES } from './gpt.ts';
import { type Content, FS_BLOCK_BYTES, makeContent } from './image-content.ts';

const USAGE = `usage: scripts/make-image <file> [size] [folder]

Makes a disk image (GPT, ext4 in partition 1, about half full). size: default 256MiB, at least 16MiB.
The files are texts and random bytes, or the files of a folder, until they run out.
  scripts/make-image /tmp/disk.img
  scripts/make-image /tmp/disk.img 1GiB
  scripts/make-image /tmp/disk.img 1GiB /usr
`;

const MIB = 2 ** 20;
const SIZE_BYTES_MIN = 16 * MIB;
/** Before partition 1, and behind it for the backup of the GPT. */
const MARGIN_BYTES = MIB;
const DISK_ID = 'ddd00000-0000-4000-8000-000000000001';
const PARTITION_ID = 'ddd00000-0000-4000-8000-000000000002';
const FILE_SYSTEM_ID = 'ddd00000-0000-4000-8000-000000000003';

const execute = promisify(execFile);

interface ToolOptions {
  readonly signal: AbortSignal;
  readonly input?: string;
  readonly cwd?: string;
}

/**
 * Runs a tool of e2fsprogs, which Debian keeps outside the PATH of ordinary users.
 * @returns its standard error.
 * @throws TransferError `usage` when it is missing, `io-error` with its message.
 */
async function runTool(
  tool: 'mkfs.ext4' | 'debugfs',
  parameters: string[],
  options: ToolOptions,
): Promise<string> {
  const { input = '', ...rest } = options;
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  // A fixed time (e2fsprogs' own variable) makes images of one size equal.
  const env = { ...process.env, PATH: path, LC_ALL: 'C', E2FSPROGS_FAKE_TIME: '1700000000' };
  try {
    const running = execute(tool, parameters, { ...rest, env, maxBuffer: 64 * MIB });
    // A tool that ends without reading its input reports the reason itself.
    running.child.stdin?.on('error', () => {}).end(input);
    return (await running).stderr;
  } catch (error) {
    options.signal.throwIfAborted();
    if (errnoOf(error) === 'ENOENT') {
      throw new TransferError('usage', `cannot find ${tool}, which is in the Debian package e2fsprogs`, {
        hint: 'apt-get install e2fsprogs',
        cause: error,
      });
    }
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : reasonOf(error);
    throw new TransferError('io-error', `cannot run ${tool}: ${said}`, { cause: error });
  }
}

async function writePartitionTable(path: string, diskBytes: number, sizeBytes: number): Promise<void> {
  const partition = {
    type: 'linux',
    id: PARTITION_ID,
    name: '',
    offsetBytes: MARGIN_BYTES,
    sizeBytes,
  } as const;
  const { head, tail, tailOffsetBytes } = partitionTable(diskBytes, DISK_ID, [partition]);
  await using handle = await open(path, 'r+');
  await handle.write(head, 0, head.length, 0);
  await handle.write(tail, 0, tail.length, tailOffsetBytes);
}

async function makeFileSystem(
  path: string,
  partitionBytes: number,
  content: Content,
  signal: AbortSignal,
): Promise<void> {
  const features = `offset=${MARGIN_BYTES},root_owner=0:0,hash_seed=${FILE_SYSTEM_ID},lazy_itable_init=0`;
  const inodeCount = content.fileCount + 2 * content.folders.length + 64;
  const parameters = [
    '-q',
    '-F',
    '-b',
    `${FS_BLOCK_BYTES}`,
    '-L',
    'dd-transfer',
    '-U',
    FILE_SYSTEM_ID,
    '-m',
    '0',
  ];
  parameters.push(
    '-J',
    'size=4',
    '-N',
    `${inodeCount}`,
    '-E',
    features,
    path,
    `${partitionBytes / FS_BLOCK_BYTES}`,
  );
  await runTool('mkfs.ext4', parameters, { signal });
  await copyContent(`${path}?offset=${MARGIN_BYTES}`, content, signal);
}

/**
 * Files and free space alternate, as on a disk that has been in use for a while. libext2fs allocates the
 * first free blocks, so each folder is followed by a file that only reserves blocks and is removed at the
 * end.
 * @throws TransferError `io-error`; debugfs exits with 0 even if it fails, so its output is checked.
 */
async function copyContent(image: string, content: Content, signal: AbortSignal): Promise<void> {
  const lines: string[] = [];
  const gapBlocks = Math.floor(content.folderBytes / FS_BLOCK_BYTES);
  const gaps = content.folders.slice(1).map(({ name }) => `gap-${name}`);
  for (const [index, { name, files }] of content.folders.entries()) {
    lines.push(`mkdir ${name}`, ...files.map((file) => `write ${file} ${file}`));
    const gap = gaps[index];
    if (gap !== undefined) lines.push(`write /dev/null ${gap}`, `fallocate ${gap} 0 ${gapBlocks - 1}`);
  }
  lines.push(...gaps.map((gap) => `rm ${gap}`), '');
  const said = await runTool('debugfs', ['-w', '-f', '-', image], {
    input: lines.join('\n'),
    signal,
    cwd: content.root,
  });
  const complaint = said.split('\n').find((line) => line !== '' && !/^debugfs [\d.]+ \(.*\)$/.test(line));
  if (complaint !== undefined)
    throw new TransferError('io-error', `cannot fill the file system: ${complaint}`);
}

/**
 * Makes a sparse file. O_EXCL keeps it from opening an existing one, even through a symbolic link.
 * @throws TransferError `target-refused`.
 */
async function createFile(file: string, sizeBytes: number): Promise<string> {
  try {
    const path = join(await realpath(dirname(resolve(file))), basename(file));
    if (path.startsWith(`${sep}dev${sep}`)) {
      throw new TransferError(
        'target-refused',
        `cannot make ${file}: images are files, and /dev is for devices`,
      );
    }
    await using handle = await open(path, 'wx');
    await handle.truncate(sizeBytes);
    return path;
  } catch (error) {
    if (error instanceof TransferError) throw error;
    const reason = errnoOf(error) === 'EEXIST' ? 'it already exists' : reasonOf(error);
    throw new TransferError('target-refused', `cannot make ${file}: ${reason}`, { cause: error });
  }
}

/** @returns a description of the image. @throws TransferError; then nothing is left behind. */
async function makeImage(
  file: string,
  { sizeBytes, from }: { readonly sizeBytes: number; readonly from: string | undefined },
  signal: AbortSignal,
): Promise<string> {
  if (sizeBytes < SIZE_BYTES_MIN || sizeBytes % SECTOR_BYTES !== 0) {
    const limit = `at least ${formatSize(SIZE_BYTES_MIN)} and whole sectors of ${SECTOR_BYTES} bytes`;
    throw new TransferError('usage', `cannot make an image of ${sizeBytes} bytes: it must be ${limit}`);
  }
  await runTool('mkfs.ext4', ['-V'], { signal });
  const path = await createFile(file, sizeBytes);
  try {
    const wholeBytes = sizeBytes - 2 * MARGIN_BYTES;
    const partitionBytes = wholeBytes - (wholeBytes % FS_BLOCK_BYTES);
    await using folder = await mkdtempDisposable(`${path}.content-`);
    const wanted = { wantedBytes: partitionBytes * 0.45, from };
    const content = await makeContent(folder.path, wanted, signal);
    await writePartitionTable(path, sizeBytes, partitionBytes);
    await makeFileSystem(path, partitionBytes, content, signal);
    const files = `${content.fileCount} files with ${formatSize(content.bytes)}`;
    return `${file}: disk image of ${formatSize(sizeBytes)}, GPT, partition 1 is ext4 with ${files}`;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function main(parameters: readonly string[]): Promise<number> {
  const [file, size = '256MiB', from, ...rest] = parameters;
  if (file === undefined || file.startsWith('-') || rest.length > 0) {
    const isHelp = file === '--help' || file === '-h';
    (isHelp ? process.stdout : process.stderr).write(USAGE);
    return isHelp ? 0 : exitStatusOf('usage');
  }
  const interruption = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () =>
      interruption.abort(new TransferError('interrupted', `interrupted: ${file} was not made`)),
    );
  }
  try {
    const wanted = { sizeBytes: parseSize(size), from };
    process.stdout.write(`${await makeImage(file, wanted, interruption.signal)}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof TransferError)) throw error;
    process.stderr.write(`make-image: error: ${error.message}\n`);
    if (error.hint !== undefined) process.stderr.write(`make-image: hint: ${error.hint}\n`);
    return exitStatusOf(error.kind);
  }
}

process.exitCode = await main(process.argv.slice(2));
