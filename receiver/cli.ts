/** argv → what ddt-receive is to do. No I/O except what commander prints. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { BELL, ON_DONE, ON_TROUBLE, TROUBLE_AFTER, readHooks, type HookOptions } from '../common/hooks.ts';
import { parseHostPort } from '../common/host-port.ts';
import { parseFormat, type FormatChoice } from '../common/nbd/image-format.ts';
import { fingerprintOfLine } from '../common/trust/ssh-signature.ts';
import { formatSize, parseDuration, parseSize, parseWhole } from '../common/units.ts';
import { usageErrorOf } from '../common/usage-error.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import type { PullOptions } from './pull/pull.ts';
import { readWatchAddress, withWatchAddress, type WatchAddress } from '../common/watch/watch-address.ts';
import { refuseForStores } from './store-arguments.ts';
import { addPullOptions, namesSource, readPull, refuseWithoutSource } from './pull-arguments.ts';
import { addStoreOptions, readStoreCommand, type StoreCommand } from './store-command-line.ts';
import { memoryBytesMinOf } from './transfer/memory-budget.ts';

export interface ReceiveOptions {
  /** As named; at least one. */
  readonly targets: readonly string[];
  /** undefined: every address, IPv4 and IPv6. */
  readonly listenHost: string | undefined;
  readonly listenPort: number;
  readonly advertise: { readonly host: string; readonly port: number | undefined } | undefined;
  readonly stateDir: string | undefined;
  readonly ticketFile: string | undefined;
  /** For those who may only read. */
  readonly readTicketFile: string | undefined;
  /** Whose own keys may sign tokens, in OpenSSH's format. */
  readonly allowSigners: string | undefined;
  /** Of the targets that are files. */
  readonly format: FormatChoice;
  /** Of the targets in an object store; undefined: as its tools say, or Amazon S3. */
  readonly s3Endpoint: string | undefined;
  readonly overwriteTarget: boolean;
  readonly discardTransfer: boolean;
  /** The question before progress is discarded is answered. */
  readonly isConfirmed: boolean;
  /** A sealed copy is opened again, to be brought up to date. */
  readonly isUpdate: boolean;
  /** What the target holds is read, listed, and not sent again where it is equal. */
  readonly isAdoption: boolean;
  readonly once: boolean;
  /** It ends when no sender comes within this time; undefined: it waits. */
  readonly senderWithinMs: number | undefined;
  readonly isReadBack: boolean;
  readonly maxConnections: number;
  readonly memoryBytes: number;
  readonly log: LogFormat;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly curlHelp: boolean;
  /** Where the page to watch it is served; undefined: nowhere. */
  readonly web: WatchAddress | undefined;
  readonly hooks: HookOptions;
}

export type LogFormat = 'text' | 'json';

/** `--list` instead of a target. */
export interface ListOptions {
  readonly stateDir: string | undefined;
  readonly log: LogFormat;
}

/** `--relay`: standard input and output are joined to a receiver's port. */
export interface RelayOptions {
  readonly host: string;
  readonly port: number;
}

/** `--check-receipt`: a disk is compared with a receipt. */
export interface CheckOptions {
  readonly receipt: string;
  readonly disk: string;
  /** `SHA256:…` of the key that has to have signed it. */
  readonly signer: string | undefined;
  /** Of the disk, if it is a file. */
  readonly format: FormatChoice;
}

export type ReceiveCommand =
  /** Help or version; it has been printed. */
  | { readonly kind: 'help' }
  | { readonly kind: 'list'; readonly options: ListOptions }
  | { readonly kind: 'check'; readonly options: CheckOptions }
  | { readonly kind: 'relay'; readonly options: RelayOptions }
  /** About the copies in an object store. */
  | StoreCommand
  /** The source is on a machine that ssh reaches. */
  | { readonly kind: 'pull'; readonly options: PullOptions }
  | { readonly kind: 'receive'; readonly options: ReceiveOptions };

/** The help fits a terminal of 80 columns. */
const HELP_COLUMNS = 80;
const LOOPBACK = '127.0.0.1';
const HELP_HINT = 'ddt-receive --help';
const HELP_AFTER = `
Examples:
  ddt-receive /dev/vdd
      onto an empty volume; prints the command for the source's machine
  ddt-receive --overwrite-target /dev/vdd
      what is on the volume may be destroyed
  ddt-receive --listen :9000 --once disk.img
      onto a file; ends when the copy is sealed
  ddt-receive /dev/vdd root@old.example.org:/dev/sda
      the source is there: ssh starts a ddt-send on that machine
  ddt-receive --ticket-file tickets.txt /dev/vdb /dev/vdc
      two disks on one port, with a ticket for each
  ddt-receive --update /dev/vdd
      opens a sealed copy again; the sender sends what differs
  ddt-receive --check-receipt receipt.json /dev/vdd
      compares a disk with the receipt of its copy, without a sender
  ddt-receive --list s3://bucket/disks
      the copies in an object store; --check reads them, --forget deletes some

Exit status: 0 sealed, listed or equal to the receipt, 2 usage, 3 not equal to
the receipt, 4 refused, 5 device failure or a damaged copy, 6 state folder full,
130/143 interrupted; after 5, 6, 130 and 143 run the same command again to
resume.
`;

/** @throws TransferError `usage`. */
export function parseReceiveArgs(argv: readonly string[], print: (text: string) => void): ReceiveCommand {
  const command = makeCommand(print);
  try {
    command.parse(withWatchAddress(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'help' };
    throw usageErrorOf(error, 'ddt-receive');
  }
  const raw = command.opts<Record<string, string | boolean | undefined>>();
  const [target, ...more] = command.args;
  if (typeof raw['checkReceipt'] === 'string') {
    refuseOthers(command, 'check-receipt', ['checkReceipt', 'signer', 'format'], more[0]);
    if (target === undefined) throw new TransferError('usage', 'no disk given', { hint: HELP_HINT });
    return {
      kind: 'check',
      options: {
        receipt: raw['checkReceipt'],
        disk: target,
        signer: readSigner(raw['signer']),
        format: parseFormat(String(raw['format'])),
      },
    };
  }
  if (raw['signer'] !== undefined) {
    throw new TransferError('usage', '--signer is only for --check-receipt', { hint: HELP_HINT });
  }
  const ofStore = readStoreCommand(command, (name, allowed, word) =>
    refuseOthers(command, name, allowed, word),
  );
  if (ofStore !== undefined) return ofStore;
  if (raw['list'] === true) return { kind: 'list', options: readListOptions(command, target) };
  if (typeof raw['relay'] === 'string') {
    refuseOthers(command, 'relay', ['relay'], target);
    const { host = LOOPBACK, port } = parseListen(raw['relay'], '--relay');
    return { kind: 'relay', options: { host, port } };
  }
  if (target === undefined || command.args.includes(''))
    throw new TransferError('usage', 'no target given', { hint: HELP_HINT });
  refuseLogin(more);
  const hasSource = namesSource(command.args);
  const options = readOptions(raw, hasSource ? [target] : command.args);
  refuseContradictions(options);
  if (hasSource) return { kind: 'pull', options: readPull(command, target, more) };
  refuseWithoutSource(command);
  return { kind: 'receive', options };
}

/** A second target like `root@old`, of which nobody has a file. @throws TransferError `usage`. */
function refuseLogin(more: readonly string[]): void {
  const login = more.find((word) => /^[^/:]+@[^/:]+$/.test(word));
  if (login === undefined) return;
  throw new TransferError('usage', `'${login}' names a machine, but no disk of it`, {
    hint: `to copy one of its disks: ${login}:/dev/sda; for a file with this name: ./${login}`,
  });
}

/** Whether messages are to be JSON, though the arguments may be wrong. */
export function wantsJsonLog(argv: readonly string[]): boolean {
  return argv.some((word, at) => word === '--log=json' || (word === '--log' && argv[at + 1] === 'json'));
}

/** With its help, for those who print it in another form. */
export function makeCommand(print: (text: string) => void): Command {
  const command = new Command('ddt-receive')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description('Serves disks as targets of ddt-send. Prints a ticket for each; keep it secret.')
    .usage(
      '[options] <target>...\n       ddt-receive [options] <target> [user@]host:source\n' +
        '       ddt-receive --list [--state-dir <dir>]\n' +
        '       ddt-receive --check-receipt <file> <disk>\n' +
        '       ddt-receive --list|--check|--forget s3://bucket/prefix[#name[@time]]\n' +
        '       ddt-receive --relay <[host:]port>',
    )
    .argument(
      '[target...]',
      'block device, file (created when absent, never under /dev), nbd://, rbd: or s3://',
    )
    .option(
      '--listen <[host:]port>',
      'address to listen on; without a host all addresses, IPv4 and IPv6; port 0 picks a free one',
      ':8443',
    )
    .option('--advertise <host[:port]>', 'what the ticket says (default: the address of the default route)')
    .option(
      '--state-dir <dir>',
      'journals and keys (default: /var/lib/dd-transfer as root, $XDG_STATE_HOME/dd-transfer otherwise)',
    )
    .option('--list', 'list the transfers in the state folder')
    .option('--ticket-file <file>', 'write tickets here, one a line, mode 0600')
    .option('--read-ticket-file <file>', 'write a ticket here that allows only to read, mode 0600')
    .option('--allow-signers <file>', "accept tokens signed by these ssh keys (ssh's allowed_signers format)")
    .option('--format <how>', 'of a file: auto, raw, qcow2, vmdk, vhdx, vdi', 'auto')
    .option('--s3-endpoint <url>', 'of the object store, where it is not Amazon S3')
    .option('--overwrite-target', "the target's present content may be destroyed")
    .option('--discard-transfer', 'forget an earlier transfer onto this target')
    .option('--yes', 'discard its progress without asking')
    .option('--update', 'open a sealed copy again: what differs is sent')
    .option('--adopt', 'read what the target holds, so that only differences are sent')
    .option('--check-receipt <file>', 'compare the disk with this receipt of ddt-send --receipt')
    .option('--signer <key>', 'the key that has to have signed it: SHA256:… or ssh-ed25519 …')
    .option('--once', 'exit 0 when all transfers are sealed')
    .option('--sender-within <duration>', 'exit 6 when no sender comes within this time')
    .option('--relay <[host:]port>', 'join standard input and output to a receiver here')
    .addOption(
      new Option('--verify <how>', 'none: the receipt says "not read back"')
        .choices(['read-back', 'none'])
        .default('read-back'),
    )
    .option('--max-connections <n>', 'connections at once, 1 to 4096', '256')
    .option('--memory <size>', 'most memory for block buffers', '256MiB')
    .addOption(new Option('--log <format>', 'format of messages').choices(['text', 'json']).default('text'))
    .option('--web [[host:]port]', 'serve a page to watch the transfers')
    .option('--web-key-file <file>', 'keep its key here; made if there is none')
    .option('--tls-cert <pem>', "certificate file to use instead of the receiver's own")
    .option('--tls-key <pem>', 'its key file')
    .option(...ON_DONE)
    .option(...ON_TROUBLE)
    .option(...TROUBLE_AFTER)
    .option(...BELL)
    .option('--curl-help', 'print commands for curl, filled in')
    .addHelpText('after', HELP_AFTER)
    .configureHelp({ helpWidth: HELP_COLUMNS })
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  return addPullOptions(addStoreOptions(command));
}

function readListOptions(command: Command, target: string | undefined): ListOptions {
  refuseOthers(command, 'list', ['list', 'stateDir', 'log'], target);
  const { stateDir, log } = command.opts<{ stateDir?: string; log: string }>();
  return { stateDir, log: log === 'json' ? 'json' : 'text' };
}

/** @returns the fingerprint. @throws TransferError `usage`. */
function readSigner(text: string | boolean | undefined): string | undefined {
  if (typeof text !== 'string') return undefined;
  const fingerprint = /^SHA256:[A-Za-z0-9+/]{43}$/.test(text.trim()) ? text.trim() : fingerprintOfLine(text);
  if (fingerprint !== undefined) return fingerprint;
  throw new TransferError('usage', '--signer is neither SHA256:<fingerprint> nor ssh-ed25519 <key>', {
    hint: 'the key is in the ticket: see docs/guide/verification.md',
  });
}

/** Another option beside this one would do nothing. */
function refuseOthers(command: Command, name: string, allowed: readonly string[], target?: string): void {
  const given = command.options.filter((option) => {
    const attribute = option.attributeName();
    return command.getOptionValueSource(attribute) === 'cli' && !allowed.includes(attribute);
  });
  const other = target ?? given[0]?.long;
  if (other === undefined) return;
  throw new TransferError('usage', `--${name} cannot be combined with '${other}'`, { hint: HELP_HINT });
}

/** What they ask for is not possible together. */
function refuseContradictions(options: ReceiveOptions): void {
  const given = [
    ...(options.discardTransfer ? ['--discard-transfer'] : []),
    ...(options.isUpdate ? ['--update'] : []),
    ...(options.isAdoption ? ['--adopt'] : []),
  ];
  if (options.readTicketFile !== undefined && options.readTicketFile === options.ticketFile) {
    throw new TransferError('usage', '--ticket-file and --read-ticket-file are the same file', {
      hint: HELP_HINT,
    });
  }
  refuseForStores(options);
  const [one, other] = given;
  if (one !== undefined && other !== undefined && !(one === '--discard-transfer' && other === '--adopt')) {
    throw new TransferError('usage', `${one} cannot be combined with '${other}'`, { hint: HELP_HINT });
  }
}

function readOptions(
  raw: Readonly<Record<string, string | boolean | undefined>>,
  targets: readonly string[],
): ReceiveOptions {
  const text = (name: string): string | undefined => {
    const value = raw[name];
    return typeof value === 'string' ? value : undefined;
  };
  const listen = parseListen(text('listen') ?? '', '--listen');
  const senderWithin = text('senderWithin');
  const advertise = text('advertise');
  const memoryBytes = parseSize(text('memory') ?? '');
  const memoryBytesMin = memoryBytesMinOf(targets.length);
  if (memoryBytes < memoryBytesMin) {
    const of = targets.length === 1 ? '' : ` for ${targets.length} targets`;
    throw new TransferError(
      'usage',
      `--memory ${text('memory')} is too little${of}: at least ${formatSize(memoryBytesMin)}`,
    );
  }
  return {
    targets,
    listenHost: listen.host,
    listenPort: listen.port,
    advertise: advertise === undefined ? undefined : parseHostPort(advertise, '--advertise'),
    stateDir: text('stateDir'),
    ticketFile: text('ticketFile'),
    readTicketFile: text('readTicketFile'),
    allowSigners: text('allowSigners'),
    format: parseFormat(text('format') ?? ''),
    s3Endpoint: text('s3Endpoint'),
    overwriteTarget: raw['overwriteTarget'] === true,
    discardTransfer: raw['discardTransfer'] === true,
    isConfirmed: raw['yes'] === true,
    isUpdate: raw['update'] === true,
    isAdoption: raw['adopt'] === true,
    once: raw['once'] === true,
    senderWithinMs: senderWithin === undefined ? undefined : parseDuration(senderWithin, '--sender-within'),
    isReadBack: text('verify') !== 'none',
    maxConnections: parseWhole(text('maxConnections') ?? '', '--max-connections', 1, 4096),
    memoryBytes,
    log: text('log') === 'json' ? 'json' : 'text',
    tlsCert: text('tlsCert'),
    tlsKey: text('tlsKey'),
    curlHelp: raw['curlHelp'] === true,
    web: readWatchAddress(text('web'), text('webKeyFile')),
    hooks: readHooks(raw),
  };
}

/** `host:port`, `[::1]:port`, `:port` or `port`. */
function parseListen(text: string, option: string): { host: string | undefined; port: number } {
  const match = /^(?:(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]/\s]+))?:)?(\d{1,5})$/.exec(text);
  if (match === null) {
    throw new TransferError('usage', `${option} '${text}' is not [host:]port`, {
      hint: `for example ${option} :9000`,
    });
  }
  return { host: match[1] ?? match[2], port: parseWhole(match[3] ?? '', 'port', 0, 65_535) };
}
