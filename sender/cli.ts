/** argv → options of ddt-send. No I/O except that commander prints help and version. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX } from '../common/geometry.ts';
import { BELL, ON_DONE, ON_TROUBLE, TROUBLE_AFTER, readHooks, type HookOptions } from '../common/hooks.ts';
import { parseHostPort } from '../common/host-port.ts';
import { parseFormat, type FormatChoice } from '../common/nbd/image-format.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import { looksLikeTicket } from '../common/trust/ticket.ts';
import { parseDuration, parseSize, parseWhole } from '../common/units.ts';
import { HELP_COLUMNS, usageErrorOf } from '../common/usage-error.ts';
import { parseBlockSize } from './block-size-option.ts';
import { parseCompression, type Compression } from './compression/compress-option.ts';
import { refuseContradictions } from './contradictions.ts';
import { DOUBTED_TYPES, parseMapAlso } from './domain/doubted-types.ts';
import { HELP_AFTER } from './help-text.ts';
import { CONNECTIONS_MAX } from './lanes/lanes.ts';
import { parseRemoteDir, type Destination } from '../common/ssh/destination.ts';
import { readWatchAddress, withWatchAddress, type WatchAddress } from '../common/watch/watch-address.ts';
import {
  HINT_HELP,
  formatWords,
  readArguments,
  refuseEndpoint,
  refuseForSources,
  refuseParts,
  targetPaths,
} from './read-arguments.ts';
import { parseDigestChoice, type DigestChoice } from './transfer/choose-digest.ts';
import { FIRST_CONTACT_MS } from './transfer/retry.ts';

const PROGRESS_FORMATS = ['auto', 'tty', 'plain', 'json', 'none'] as const;
/** In a message of commander; part of a token has capitals and digits. */
const OPTION_NAMED = /'--[a-z]+(-[a-z]+)*'/;

export interface SendOptions {
  /** As named; see open-source.ts. At least one, in the order in which they are copied. */
  readonly sources: readonly string[];
  readonly ticket: string | undefined;
  /** Instead of a ticket: a target on a machine that ssh reaches. */
  readonly far: FarArguments | undefined;
  /** A ddt-receive has started it, and brings the ticket. */
  readonly isPulled: boolean;
  /** A ddt-fleet has started it, and steers it through standard input. */
  readonly isSteered: boolean;
  /** Standard input and output are joined to this port of the machine. */
  readonly relayPort: number | undefined;
  /** `-`: standard input. */
  readonly ticketFile: string | undefined;
  /** The key that signs the token for a public ticket. */
  readonly identity: string | undefined;
  /** Instead of the ticket's address; without a port the ticket's. */
  readonly connect: { readonly host: string; readonly port: number | undefined } | undefined;
  readonly connections: number | 'auto';
  /** undefined: what the transfer was claimed with, or else one that suits the size of the source. */
  readonly blockSizeBytes: number | undefined;
  /** What the user says that standard input has. */
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
  /** Overwrite without asking. */
  readonly isConfirmed: boolean;
  readonly isDryRun: boolean;
  /** Measure only. */
  readonly isProbe: boolean;
  /** Compare only. */
  readonly isCheck: boolean;
  /** End without sealing. */
  readonly isKeptOpen: boolean;
  readonly format: FormatChoice;
  /** Of the service with the copies that are sources; undefined: as the environment says. */
  readonly s3Endpoint: string | undefined;
  readonly onReadError: 'stop' | 'zero';
  readonly mapfile: string | undefined;
  /** A map of what is to be copied. */
  readonly domainMapfile: string | undefined;
  /** Copy what the file systems use. */
  readonly isUsedOnly: boolean;
  /** Types of file systems whose maps are taken although they have been wrong. */
  readonly mapAlso: readonly string[];
  readonly progress: (typeof PROGRESS_FORMATS)[number];
  /** Where the page to watch it is served; undefined: nowhere. */
  readonly web: WatchAddress | undefined;
  /** Instead of a source: the receipt of a finished copy, to be shown on that page. */
  readonly show?: string;
  readonly hooks: HookOptions;
}

/** For one of the sources. */
export interface DiskOptions extends SendOptions {
  readonly source: string;
}

/** Of targets on a machine that ssh reaches. */
export interface FarArguments {
  readonly destination: Destination;
  /** One for each source. */
  readonly paths: readonly string[];
  /** Run by the shell instead of `ssh`. */
  readonly sshCommand: string;
  /** Run there instead of a program that is brought. */
  readonly remoteProgram: string | undefined;
  /** The file to bring. */
  readonly programFile: string | undefined;
  readonly remoteDir: string;
  /** What is brought there stays. */
  readonly isKept: boolean;
  readonly listen: string | undefined;
  /** Options of ddt-receive for each of its starts. */
  readonly always: readonly string[];
  /** The same for the first start of the run only. */
  readonly first: readonly string[];
}

/** Survives a reboot and may hold programs, unlike /run and, at times, /tmp. */
const REMOTE_DIR = '/var/lib/dd-transfer';

/** @throws TransferError `usage`. @returns `help` when that, or the version, was asked for and printed. */
export function parseSendArgs(argv: readonly string[], print: (text: string) => void): SendOptions | 'help' {
  const command = makeCommand(print);
  try {
    command.parse(withWatchAddress(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 'help';
    // A token may be cut before a dash: then the rest of the secret looks like an option.
    const isPart = error.code === 'commander.unknownOption' && !OPTION_NAMED.test(error.message);
    if (isPart && argv.some(looksLikeTicket)) refuseParts(argv.length);
    throw usageErrorOf(error, 'ddt-send');
  }
  return readOptions(command);
}

/**
 * With its help, for those who print it in another form. It takes as many words as a shell makes of a ticket
 * with blanks in it.
 */
export function makeCommand(print: (text: string) => void): Command {
  return new Command('ddt-send')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description(
      'Copies a disk onto a disk of another machine. That is reached by ssh, or by the\n' +
        'ticket of a ddt-receive. Interrupted, run the same command again to resume.',
    )
    .usage('[options] <source>... [[user@]host:target[,target]... | ticket]')
    .argument('[source]', 'block device, file, nbd://, rbd: or s3:// name, - for standard input')
    .argument('[target...]', 'as scp has it, or the ticket that ddt-receive printed, in single quotes')
    .option(
      '--ticket-file <file>',
      'take tickets from this file, one a line, or - for standard input (or $DDT_TICKET)',
    )
    .option('--identity <file>', 'ssh key (or .pub of one in an agent) to sign for a public ticket')
    .option('--connect <host[:port]>', "connect to this address instead of the ticket's")
    .option('--connections <n>', `auto: as many as help; or 1 to ${CONNECTIONS_MAX}`, 'auto')
    .option('--block-size <size>', 'a power of two, 64KiB to 16MiB (default: by size, 256KiB to 4MiB)')
    .option('--source-size <size>', 'size of standard input: an earlier end is an error')
    .option('--format <how>', 'of a file: auto, raw, qcow2, vmdk, vhdx, vdi', 'auto')
    .option('--s3-endpoint <url>', 'of the object store (or $AWS_ENDPOINT_URL_S3)')
    .addOption(onReadErrorOption())
    .option('--mapfile <file>', "ddrescue's format: skip what it lists as read, and keep it up to date")
    .option('--domain-mapfile <file>', 'copy only what this ddrescue map lists with +')
    .option('--used-only', 'copy only what file systems use (with partclone)')
    .option('--map-also <types>', `with --used-only: maps of ${DOUBTED_TYPES.join(', ')}, too`)
    .option(
      '--bwlimit <limit>',
      "bytes per second: 2M, or a timetable:\n'08:00,512K 19:00,off', or @file with either",
    )
    .option('--compress <how>', 'auto: where it saves time; none, zstd, or zstd:1 to zstd:19', 'auto')
    .option('--digest <how>', 'of blocks: auto, sha-256, blake3', 'auto')
    .option('--retry-for <duration>', 'how long without progress; until first contact 2m if not given', '24h')
    .option('--memory <size>', 'memory for block buffers', '512MiB')
    .addOption(progressOption())
    .option('--web [[host:]port]', 'serve a page to watch the copy')
    .option('--web-key-file <file>', 'keep its key here; made if there is none')
    .option('--show <receipt>', 'show a finished copy there, from its receipt')
    .option('--probe', 'measure line and disks for ten seconds, estimate the time; exits with 3')
    .option('--dry-run', 'name both disks, compare, say what would be sent; sends nothing, exits with 3')
    .option('--check', 'read source and target again, list what differs; sends nothing, exits with 0 or 3')
    .option('--keep-open', 'do not seal: a pass to be followed by another; exits with 3')
    .option('--yes', 'overwrite what is on the target without asking')
    .option('--receipt <file>', 'write the receipt here; of several into a folder')
    .option(...ON_DONE)
    .option(...ON_TROUBLE)
    .option(...TROUBLE_AFTER)
    .option(...BELL)
    .option('--ssh <command>', 'run this instead of ssh: "ssh -i key"')
    .option('--program <file>', 'the ddt-linux-x64 or -arm64 to bring there')
    .option('--remote-program <command>', 'run this there, and bring nothing')
    .option('--remote-dir <dir>', 'for program and state there', REMOTE_DIR)
    .option('--keep', 'leave both there after the copy')
    .option('--listen <[host:]port>', 'default there: :8443, or a free port')
    .option('--target-format <how>', 'of a target that is a file there: as --format')
    .option('--overwrite-target', 'what the target holds may be destroyed')
    .option('--discard-transfer', 'forget the earlier transfer onto it')
    .option('--update', 'send what differs to a sealed copy')
    .option('--adopt', 'compare with what the target holds first')
    .addOption(verifyOption())
    .option('--pulled', 'used by ddt-receive: the ticket comes from there')
    .option('--steered', 'used by ddt-fleet: limits come from there')
    .option('--relay <port>', 'used by ddt-receive: joins that port')
    .addHelpText('after', HELP_AFTER)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {}, getOutHelpWidth: () => HELP_COLUMNS });
}

function verifyOption(): Option {
  const option = new Option('--verify <how>', 'none: nothing is read back');
  return option.choices(['read-back', 'none']).default('read-back');
}

function onReadErrorOption(): Option {
  const option = new Option('--on-read-error <what>', 'zero: replace unreadable sectors by zeros');
  return option.choices(['stop', 'zero']).default('stop');
}

function progressOption(): Option {
  const option = new Option('--progress <format>', 'auto: tty on a terminal, else plain');
  return option.choices(PROGRESS_FORMATS).default('auto');
}

interface Flags {
  readonly usedOnly?: true;
  readonly keep?: true;
  readonly pulled?: true;
  readonly steered?: true;
  readonly overwriteTarget?: true;
  readonly discardTransfer?: true;
  readonly update?: true;
  readonly adopt?: true;
  readonly dryRun?: true;
  readonly probe?: true;
  readonly check?: true;
  readonly keepOpen?: true;
  readonly yes?: true;
}

function readOptions(command: Command): SendOptions {
  const { dryRun, probe, check, keepOpen, yes, pulled, steered, usedOnly, ...raw } = command.opts<
    Partial<Record<string, string>> & Flags
  >();
  const { blockSize, connect, connections = 'auto', memory = '', progress, sourceSize, relay } = raw;
  const memoryBytes = parseSize(memory, '--memory');
  const retryForMs = parseDuration(raw['retryFor'] ?? '', '--retry-for');
  const isRetryForGiven = command.getOptionValueSource('retryFor') !== 'default';
  if (memoryBytes < BLOCK_SIZE_BYTES_MAX) {
    throw new TransferError('usage', `--memory ${memory} is less than one block of 16MiB`);
  }
  refuseContradictions((option) => isGiven(command, option));
  if (command.args.length === 0 && raw['show'] === undefined)
    throw new TransferError('usage', 'no source given', { hint: HINT_HELP });
  const { sources, ticket, destination } = readArguments(command.args, raw['ticketFile'] !== undefined);
  const isPulled = pulled === true;
  const isWithout = ticket === undefined && destination === undefined && sources[0] !== '-';
  if (isPulled && !isWithout)
    throw new TransferError('usage', '--pulled takes a disk or a file, and no target', { hint: HINT_HELP });
  refuseEndpoint(sources, raw['s3Endpoint']);
  refuseForSources(sources, (option) => isGiven(command, option));
  return {
    sources,
    ticket,
    far: readFar(command, destination, sources.length),
    isPulled,
    isSteered: steered === true,
    relayPort: relay === undefined ? undefined : parseWhole(relay, '--relay', 1, 65_535),
    ticketFile: raw['ticketFile'],
    identity: raw['identity'],
    connect: connect === undefined ? undefined : parseHostPort(connect, '--connect'),
    connections:
      connections === 'auto' ? 'auto' : parseWhole(connections, '--connections', 1, CONNECTIONS_MAX),
    blockSizeBytes: blockSize === undefined ? undefined : parseBlockSize(blockSize),
    sourceSizeBytes: sourceSize === undefined ? null : parseSize(sourceSize, '--source-size'),
    retryForMs,
    firstContactForMs: isRetryForGiven ? retryForMs : FIRST_CONTACT_MS,
    memoryBytes,
    bwlimit: raw['bwlimit'],
    compress: parseCompression(raw['compress'] ?? 'auto'),
    digest: parseDigestChoice(raw['digest'] ?? 'auto'),
    receiptFile: raw['receipt'],
    isConfirmed: yes === true,
    isDryRun: dryRun === true,
    isProbe: probe === true,
    isCheck: check === true,
    isKeptOpen: keepOpen === true,
    format: parseFormat(raw['format'] ?? ''),
    s3Endpoint: raw['s3Endpoint'],
    onReadError: raw['onReadError'] === 'zero' ? 'zero' : 'stop',
    mapfile: raw['mapfile'],
    domainMapfile: raw['domainMapfile'],
    isUsedOnly: usedOnly === true,
    mapAlso: parseMapAlso(raw['mapAlso'], usedOnly === true),
    progress: PROGRESS_FORMATS.find((format) => format === progress) ?? 'auto',
    web: readWatchAddress(raw['web'], raw['webKeyFile']),
    ...(raw['show'] === undefined ? {} : { show: readShow(command, raw['show']) }),
    hooks: readHooks(command.opts(), isPulled),
  };
}

/** Nothing is copied: another option would have no effect. @throws TransferError `usage`. */
function readShow(command: Command, receipt: string): string {
  const allowed = ['--show', '--web', '--web-key-file'];
  const names = command.options.map(({ long }) => long ?? '');
  const [other] = [
    ...command.args,
    ...names.filter((name) => isGiven(command, name) && !allowed.includes(name)),
  ];
  if (other !== undefined)
    throw new TransferError('usage', `--show cannot be combined with '${other}'`, { hint: HINT_HELP });
  if (isGiven(command, '--web')) return receipt;
  throw new TransferError('usage', '--show needs --web: it is shown on a page', {
    hint: `ddt-send --web --show ${receipt}`,
  });
}

function isGiven(command: Command, option: string): boolean {
  return command.getOptionValueSource(attributeOf(option)) === 'cli';
}

/** As commander names its value. */
function attributeOf(option: string): string {
  return option.slice(2).replaceAll(/-(.)/g, (_dash, letter: string) => letter.toUpperCase());
}

/** Options that mean nothing without a machine that ssh reaches. */
const FAR_OPTIONS = [
  '--ssh',
  '--program',
  '--remote-program',
  '--remote-dir',
  '--keep',
  '--listen',
  '--target-format',
  '--overwrite-target',
  '--discard-transfer',
  '--update',
  '--adopt',
  '--verify',
];

/** @throws TransferError `usage`. */
function readFar(
  command: Command,
  destination: Destination | undefined,
  sourceCount: number,
): FarArguments | undefined {
  const given = (names: readonly string[]): string[] => names.filter((name) => isGiven(command, name));
  const words = (names: readonly string[]): string[] =>
    given(names).flatMap((name) => {
      const value: unknown = command.getOptionValue(attributeOf(name));
      return typeof value === 'string' ? [name, value] : [name];
    });
  if (destination === undefined) {
    const [first] = given(FAR_OPTIONS);
    if (first === undefined) return undefined;
    const hint = 'with a ticket, that is an option of ddt-receive, or of no use';
    throw new TransferError('usage', `${first} is only for a target like root@vm:/dev/vdd`, { hint });
  }
  const [ofTicket] = given(['--ticket-file', '--identity']);
  if (ofTicket !== undefined) {
    throw new TransferError('usage', `${ofTicket} and a target like root@vm:/dev/vdd exclude each other`, {
      hint: HINT_HELP,
    });
  }
  const raw = command.opts<Partial<Record<string, string>> & Flags>();
  const remoteDir = parseRemoteDir(raw['remoteDir'] ?? REMOTE_DIR);
  const isDiscarding = raw.discardTransfer === true;
  const format = formatWords(raw['targetFormat']);
  return {
    destination,
    paths: targetPaths(destination, sourceCount),
    sshCommand: raw['ssh'] ?? 'ssh',
    remoteProgram: raw['remoteProgram'],
    programFile: raw['program'],
    remoteDir,
    isKept: raw.keep === true,
    listen: raw['listen'],
    always: ['--verify', raw['verify'] ?? 'read-back', ...format, ...words(['--overwrite-target'])],
    first: [
      ...words(['--discard-transfer', '--update', '--adopt']),
      ...(isDiscarding ? words(['--yes']) : []),
    ],
  };
}
