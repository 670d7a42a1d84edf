/** argv → options of ddt-send. No I/O but what commander prints. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX, BLOCK_SIZE_BYTES_MIN, isBlockSize } from '../common/geometry.ts';
import { formatSize, parseDuration, parseSize, parseWhole } from '../common/units.ts';
import { usageErrorOf } from '../common/usage-error.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import { parseDigestChoice, type DigestChoice } from './transfer/choose-digest.ts';
import { parseCompression, type Compression } from './compression/compress-option.ts';
import { CONNECTIONS_MAX } from './lanes/lanes.ts';
import { FIRST_CONTACT_MS } from './transfer/retry.ts';

const PROGRESS_FORMATS = ['auto', 'tty', 'plain', 'json', 'none'] as const;

export interface SendOptions {
  /** `-`: standard input. */
  readonly source: string;
  readonly ticket: string | undefined;
  readonly ticketFile: string | undefined;
  readonly connections: number | 'auto';
  /** undefined: that of the transfer's claim, or else one that suits the size of the source. */
  readonly blockSizeBytes: number | undefined;
  /** Of standard input, where the user knows it. */
  readonly sourceSizeBytes: number | null;
  readonly retryForMs: number;
  /** The same until the receiver has answered for the first time. */
  readonly firstContactForMs: number;
  readonly memoryBytes: number;
  /** A limit or a timetable, or `@` and the path of a file that holds one; undefined: no limit. */
  readonly bwlimit: string | undefined;
  readonly digest: DigestChoice;
  readonly compress: Compression;
  readonly receiptFile: string | undefined;
  /** The question before something is overwritten is answered. */
  readonly isConfirmed: boolean;
  readonly isDryRun: boolean;
  readonly onReadError: 'stop' | 'zero';
  readonly mapfile: string | undefined;
  readonly progress: (typeof PROGRESS_FORMATS)[number];
}

const HELP_AFTER = `
Examples:
  ddt-send /dev/sdc 'https://203.0.113.7:8443/#pin=…&token=…'     the quotes are needed
  ddt-send --ticket-file ticket.txt --progress json disk.img
  DDT_TICKET='https://…' ddt-send /dev/disk/by-id/usb-Stick_0815  keeps the ticket out of ps
  zcat disk.img.gz | ddt-send --ticket-file ticket.txt -

Exit status: 0 all verified, 2 usage, 3 finished but not proven, 4 refused, 5 device failure or
corruption, 6 gave up waiting, 130/143 interrupted; after 5, 6, 130, 143 the same command goes on.
`;

/** @throws TransferError `usage`; `help` when that, or the version, was asked for and has been printed. */
export function parseSendArgs(argv: readonly string[], print: (text: string) => void): SendOptions | 'help' {
  const command = new Command('ddt-send')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description('Copies a disk to the target of a ddt-receive. Interrupted, the same command goes on.')
    .argument('<source>', 'block device, file, or - for standard input')
    .argument('[ticket]', 'what ddt-receive printed; in single quotes')
    .option('--ticket-file <file>', 'read the ticket from this file (or from $DDT_TICKET)')
    .option('--connections <n>', `auto: as many as help; or 1 to ${CONNECTIONS_MAX}`, 'auto')
    .option('--block-size <size>', 'a power of two, 64KiB to 16MiB (default: by size, 256KiB to 4MiB)')
    .option('--source-size <size>', 'what standard input has: if it ends before, that is an error')
    .addOption(
      new Option('--on-read-error <what>', 'zero: bad sectors become zeros')
        .choices(['stop', 'zero'])
        .default('stop'),
    )
    .option('--mapfile <file>', "ddrescue's; what it lists as read is not read again")
    .option('--bwlimit <limit>', "bytes a second: 2M, a timetable '08:00,512K 19:00,off', or @file with one")
    .option('--compress <how>', 'auto: where it saves time; none, zstd, or zstd:1 to zstd:19', 'auto')
    .option('--digest <how>', 'of blocks: auto, sha-256, blake3', 'auto')
    .option('--retry-for <duration>', 'how long without progress; until first contact 2m if not given', '24h')
    .option('--memory <size>', 'most memory for block buffers', '512MiB')
    .addOption(
      new Option('--progress <format>', 'auto: tty on a terminal, else plain')
        .choices(PROGRESS_FORMATS)
        .default('auto'),
    )
    .option('--dry-run', 'name both disks, compare, say what would be sent; sends nothing, exits with 3')
    .option('--yes', 'overwrite what is on the target without asking')
    .option('--receipt <file>', 'write the signed receipt here, its signature to <file>.sig')
    .addHelpText('after', HELP_AFTER)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  if (argv.length === 0)
    throw new TransferError('usage', `no source given\n${command.helpInformation()}${HELP_AFTER}`);
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 'help';
    throw usageErrorOf(error, 'ddt-send');
  }
  return readOptions(command);
}

interface Flags {
  readonly dryRun?: true;
  readonly yes?: true;
}

function readOptions(command: Command): SendOptions {
  const { dryRun, yes, ...raw } = command.opts<Partial<Record<string, string>> & Flags>();
  const [source, ticket] = command.args;
  const blockSize = raw['blockSize'];
  const memory = parseSize(raw['memory'] ?? '');
  if (memory < BLOCK_SIZE_BYTES_MAX) {
    throw new TransferError('usage', `--memory ${raw['memory']} is less than one block of 16MiB`);
  }
  const retryForMs = parseDuration(raw['retryFor'] ?? '');
  const isRetryForGiven = command.getOptionValueSource('retryFor') !== 'default';
  const connections = raw['connections'] ?? 'auto';
  const progress = raw['progress'];
  const sourceSize = raw['sourceSize'];
  if (sourceSize !== undefined && source !== '-') {
    throw new TransferError('usage', '--source-size is for standard input: disks and files have a size', {
      hint: "zcat disk.img.gz | ddt-send --source-size 931G - '<ticket>'",
    });
  }
  if (dryRun === true && source === '-') {
    throw new TransferError('usage', '--dry-run reads the source, and standard input can be read once only', {
      hint: 'leave --dry-run out, or name a disk or a file',
    });
  }
  return {
    source: source ?? '',
    ticket,
    ticketFile: raw['ticketFile'],
    connections:
      connections === 'auto' ? 'auto' : parseWhole(connections, '--connections', 1, CONNECTIONS_MAX),
    blockSizeBytes: blockSize === undefined ? undefined : parseBlockSize(blockSize),
    sourceSizeBytes: sourceSize === undefined ? null : parseSize(sourceSize),
    retryForMs,
    firstContactForMs: isRetryForGiven ? retryForMs : FIRST_CONTACT_MS,
    memoryBytes: memory,
    bwlimit: raw['bwlimit'],
    compress: parseCompression(raw['compress'] ?? 'auto'),
    digest: parseDigestChoice(raw['digest'] ?? 'auto'),
    receiptFile: raw['receipt'],
    isConfirmed: yes === true,
    isDryRun: dryRun === true,
    onReadError: raw['onReadError'] === 'zero' ? 'zero' : 'stop',
    mapfile: raw['mapfile'],
    progress: PROGRESS_FORMATS.find((format) => format === progress) ?? 'auto',
  };
}

function parseBlockSize(text: string): number {
  const bytes = parseSize(text);
  if (isBlockSize(bytes)) return bytes;
  const limits = `${formatSize(BLOCK_SIZE_BYTES_MIN)} to ${formatSize(BLOCK_SIZE_BYTES_MAX)}`;
  throw new TransferError('usage', `--block-size ${text} is not a power of two from ${limits}`);
}
